#include "ops/reference/reference_ops.h"

namespace wgqa {
namespace reference {

std::optional<std::string> ReferenceOps::whyUnsupported(const ComputeNeeds& needs) const {
  if (needs.dtype == DType::float32 || needs.dtype == DType::bfloat16) return std::nullopt;
  return "the reference backend computes in float32 or bfloat16, not in " +
         std::string(dtypeName(needs.dtype));
}

}  // namespace reference

std::unique_ptr<Ops> makeReferenceOps() { return std::make_unique<reference::ReferenceOps>(); }

}  // namespace wgqa
