// Places of element types in tables of kernels.
#pragma once

#include "base/dtype.h"
#include "ops/cuda/kernels/elements.h"

namespace wgqa::cuda {

/// In a table by float32, bfloat16: what training computes in.
inline int computeIndex(DType dtype) { return dtype == DType::float32 ? 0 : 1; }

/// In a table by float32, float16, bfloat16.
inline int floatIndex(DType dtype) {
  return dtype == DType::float32 ? 0 : dtype == DType::float16 ? 1 : 2;
}

/// The same, for kernels that learn it when they run.
inline FloatType floatType(DType dtype) { return static_cast<FloatType>(floatIndex(dtype)); }

/// In a table by float32, float16, bfloat16, int8.
inline int cacheIndex(DType dtype) { return dtype == DType::int8 ? 3 : floatIndex(dtype); }

}  // namespace wgqa::cuda
