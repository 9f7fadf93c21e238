#include "ops/cuda/operations.h"

namespace wgqa::cuda {

void mergeHeads(const MergeHeads&, Session&) { throw Error(ErrorCode::unsupported, "todo"); }
void mergeHeadsBackward(const MergeHeadsBackward&, Session&) {
  throw Error(ErrorCode::unsupported, "todo");
}

}  // namespace wgqa::cuda
