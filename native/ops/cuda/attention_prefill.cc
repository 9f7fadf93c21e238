// Attention over whole sequences: float32 queries take float32 arithmetic, 16-bit ones the tensor
// cores, by the instructions of the device's generation.
#include "ops/cuda/attention_hopper_plan.h"
#include "ops/cuda/attention_kernels.h"
#include "ops/cuda/operations.h"

namespace wgqa::cuda {

void attentionPrefill(const AttentionPrefill& p, Session& session) {
  if (p.q.dtype == DType::float32) return attentionPrefillFloat(p, session);
  if (takesHopper(p, session.device().properties())) return attentionPrefillHopper(p, session);
  attentionPrefillTensor(p, session);
}

void attentionPrefillBackward(const AttentionPrefillBackward& p, Session& session) {
  if (p.q.dtype == DType::float32) return attentionPrefillBackwardFloat(p, session);
  if (takesHopper(p, session.device().properties())) {
    return attentionPrefillBackwardHopper(p, session);
  }
  attentionPrefillBackwardTensor(p, session);
}

}  // namespace wgqa::cuda
