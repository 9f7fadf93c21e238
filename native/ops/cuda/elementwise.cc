#include "ops/cuda/operations.h"

namespace wgqa::cuda {

void dropout(const Dropout&, Session&) { throw Error(ErrorCode::unsupported, "todo"); }
void gatedActivation(const GatedActivation&, Session&) {
  throw Error(ErrorCode::unsupported, "todo");
}
void gatedActivationBackward(const GatedActivationBackward&, Session&) {
  throw Error(ErrorCode::unsupported, "todo");
}
void cast(const Cast&, Session&) { throw Error(ErrorCode::unsupported, "todo"); }

}  // namespace wgqa::cuda
