#include "ops/cuda/operations.h"

namespace wgqa::cuda {

void attentionDecode(const AttentionDecode&, Session&) {
  throw Error(ErrorCode::unsupported, "todo");
}

}  // namespace wgqa::cuda
