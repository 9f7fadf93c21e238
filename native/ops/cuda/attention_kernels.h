// The kinds of attention over whole sequences.
#pragma once

#include "ops/cuda/session.h"
#include "ops/ops.h"

namespace wgqa::cuda {

// attention_float.cc, attention_float_backward.cc: float32 q, k, v.
void attentionPrefillFloat(const AttentionPrefill& p, Session& session);
void attentionPrefillBackwardFloat(const AttentionPrefillBackward& p, Session& session);
// attention_tensor.cc: bfloat16 or float16 q, k, v; attention_tensor_backward.cc: bfloat16.
void attentionPrefillTensor(const AttentionPrefill& p, Session& session);
void attentionPrefillBackwardTensor(const AttentionPrefillBackward& p, Session& session);
// attention_hopper.cc, attention_hopper_backward.cc: those of them that takesHopper() says
// (attention_hopper_plan.h).
void attentionPrefillHopper(const AttentionPrefill& p, Session& session);
void attentionPrefillBackwardHopper(const AttentionPrefillBackward& p, Session& session);

}  // namespace wgqa::cuda
