#include "ops/cuda/attention_kernels.h"

namespace wgqa::cuda {

void attentionPrefillTensor(const AttentionPrefill&, Session&) {
  throw Error(ErrorCode::unsupported, "todo");
}

}  // namespace wgqa::cuda
