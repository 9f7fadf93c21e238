// Arguments of the kernels in norm.cu.
#pragma once

#include "ops/cuda/kernels/kernel.h"

namespace wgqa::cuda {

/// One block per row.
struct RmsNormArguments {
  const float* x;       // [rows, columns]
  const float* weight;  // [columns]
  void* out;            // [rows, columns] of the kernel's type
  float* inverseRms;    // [rows], or null
  std::int64_t columns;
  float epsilon;
};

inline constexpr Kernel<RmsNormArguments> kRmsNormFloat32{"rmsNorm<float32>"};
inline constexpr Kernel<RmsNormArguments> kRmsNormBFloat16{"rmsNorm<bfloat16>"};

}  // namespace wgqa::cuda
