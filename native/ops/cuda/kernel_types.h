// Places of element types in tables of kernels.
#pragma once

#include "base/dtype.h"

namespace wgqa::cuda {

/// In a table by float32, bfloat16.
inline int computeIndex(DType dtype) { return dtype == DType::float32 ? 0 : 1; }

/// In a table by float32, float16, bfloat16.
inline int floatIndex(DType dtype) {
  return dtype == DType::float32 ? 0 : dtype == DType::float16 ? 1 : 2;
}

/// In a table by float32, bfloat16, int8.
inline int cacheIndex(DType dtype) {
  return dtype == DType::float32 ? 0 : dtype == DType::bfloat16 ? 1 : 2;
}

}  // namespace wgqa::cuda
