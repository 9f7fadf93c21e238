// Attention over whole sequences: float32 queries take float32 arithmetic, 16-bit ones the tensor
// cores.
#include "ops/cuda/attention_kernels.h"
#include "ops/cuda/operations.h"

namespace wgqa::cuda {

void attentionPrefill(const AttentionPrefill& p, Session& session) {
  if (p.q.dtype == DType::float32) return attentionPrefillFloat(p, session);
  attentionPrefillTensor(p, session);
}

void attentionPrefillBackward(const AttentionPrefillBackward& p, Session& session) {
  if (p.q.dtype == DType::float32) return attentionPrefillBackwardFloat(p, session);
  attentionPrefillBackwardTensor(p, session);
}

}  // namespace wgqa::cuda
