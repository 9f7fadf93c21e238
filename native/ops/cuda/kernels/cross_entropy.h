// Arguments of the kernels in cross_entropy.cu.
#pragma once

#include "ops/cuda/kernels/kernel.h"

namespace wgqa::cuda {

/// A block per row.
struct CrossEntropyArguments {
  const float* logits;         // [rows, vocab]
  const std::int32_t* labels;  // [rows]
  void* gradLogits;            // [rows, vocab] of the kernel's type, may be logits; or null
  double* losses;              // [rows], or null
  std::int64_t logitsStride;   // elements from one row to the next
  std::int64_t gradStride;
  std::int32_t vocab;
  std::int32_t ignoredLabel;
  float gradScale;
  std::int32_t unused;
};

/// One block: total[0] = the sum of count numbers, in an order that depends on count alone.
struct SumDoublesArguments {
  const double* values;
  double* total;
  std::int64_t count;
};

inline constexpr Kernel<CrossEntropyArguments> kCrossEntropyFloat32{"crossEntropy<float32>"};
inline constexpr Kernel<CrossEntropyArguments> kCrossEntropyBFloat16{"crossEntropy<bfloat16>"};
inline constexpr Kernel<SumDoublesArguments> kSumDoubles{"sumDoubles"};

}  // namespace wgqa::cuda
