#include "ops/cuda/attention_kernels.h"

namespace wgqa::cuda {

void attentionPrefillBackwardFloat(const AttentionPrefillBackward&, Session&) {
  throw Error(ErrorCode::unsupported, "todo");
}

}  // namespace wgqa::cuda
