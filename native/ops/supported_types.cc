#include "ops/ops.h"

namespace wgqa {

std::string supportedTypes(const Ops& ops, ComputeNeeds needs, DType ComputeNeeds::*field) {
  std::string names;
  for (const DType dtype : {DType::float32, DType::float16, DType::bfloat16, DType::int8}) {
    needs.*field = dtype;
    if (ops.whyUnsupported(needs)) continue;
    names += (names.empty() ? "'" : " | '") + std::string(dtypeName(dtype)) + "'";
  }
  return names;
}

}  // namespace wgqa
