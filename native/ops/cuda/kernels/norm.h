// Arguments of the kernels in norm.cu.
#pragma once

#include "ops/cuda/kernels/kernel.h"

namespace wgqa::cuda {

/// A block per row.
struct RmsNormArguments {
  const float* x;       // [rows, columns]
  const float* weight;  // [columns]
  void* out;            // [rows, columns] of the kernel's type
  float* inverseRms;    // [rows], or null
  std::int64_t columns;
  float epsilon;
};

/// A block per row.
struct RmsNormBackwardArguments {
  const float* x;           // [rows, columns]
  const float* weight;      // [columns]
  const float* inverseRms;  // [rows]
  const float* gradOut;     // [rows, columns]
  float* gradX;             // [rows, columns], +=
  std::int64_t columns;
};

/// The gradient of the weight over one slice of rows (y) and of columns (x).
struct RmsNormWeightArguments {
  const float* x;           // [rows, columns]
  const float* inverseRms;  // [rows]
  const float* gradOut;     // [rows, columns]
  float* partial;           // [slices, columns]
  std::int64_t rows;
  std::int64_t rowsPerSlice;
  std::int64_t columns;
};

/// out[i] += the sum of partial[slice, i] in the order of the slices.
struct SumSlicesArguments {
  const float* partial;  // [slices, count]
  float* out;            // [count], +=
  std::int64_t slices;
  std::int64_t count;
};

inline constexpr Kernel<RmsNormArguments> kRmsNormFloat32{"rmsNorm<float32>"};
inline constexpr Kernel<RmsNormArguments> kRmsNormBFloat16{"rmsNorm<bfloat16>"};
inline constexpr Kernel<RmsNormBackwardArguments> kRmsNormBackward{"rmsNormBackward"};
inline constexpr Kernel<RmsNormWeightArguments> kRmsNormWeight{"rmsNormWeight"};
inline constexpr Kernel<SumSlicesArguments> kSumSlices{"sumSlices"};

}  // namespace wgqa::cuda
