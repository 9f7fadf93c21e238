#include "ops/reference/reference_ops.h"

namespace wgqa {
namespace reference {

std::optional<std::string> ReferenceOps::whyUnsupported(const ComputeNeeds& needs) const {
  if (needs.matmul && needs.dtype == DType::int8) {
    return "the reference backend multiplies int8 with packed weights only";
  }
  if (needs.dtype != DType::int32) return std::nullopt;
  return "the reference backend computes in float32, float16, bfloat16 or int8, not in int32";
}

}  // namespace reference

std::unique_ptr<Ops> makeReferenceOps() { return std::make_unique<reference::ReferenceOps>(); }

}  // namespace wgqa
