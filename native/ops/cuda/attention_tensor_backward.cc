#include "ops/cuda/attention_kernels.h"

namespace wgqa::cuda {

void attentionPrefillBackwardTensor(const AttentionPrefillBackward&, Session&) {
  throw Error(ErrorCode::unsupported, "todo");
}

}  // namespace wgqa::cuda
