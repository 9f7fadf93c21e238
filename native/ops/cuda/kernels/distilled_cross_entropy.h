// Arguments of the kernels in distilled_cross_entropy.cu.
#pragma once

#include "ops/cuda/kernels/kernel.h"

namespace wgqa::cuda {

/// A block per row.
struct DistilledCrossEntropyArguments {
  const float* logits;         // [rows, vocab]
  const float* teacherLogits;  // [rows, vocab]
  const std::int32_t* labels;  // [rows]
  void* gradLogits;            // [rows, vocab] of the kernel's type, may be logits
  double* losses;              // [rows]
  double* distillations;       // [rows] temperature^2 * KL
  std::int64_t logitsStride;   // elements from one row to the next
  std::int64_t teacherStride;
  std::int64_t gradStride;
  std::int32_t vocab;
  std::int32_t ignoredLabel;
  float hardScale;  // of the gradient of the cross-entropy
  float softScale;  // of softmax(logits / temperature) - softmax(teacherLogits / temperature)
  float temperature;
  std::int32_t unused;
};

inline constexpr Kernel<DistilledCrossEntropyArguments> kDistilledCrossEntropyFloat32{
    "distilledCrossEntropy<float32>"};
inline constexpr Kernel<DistilledCrossEntropyArguments> kDistilledCrossEntropyBFloat16{
    "distilledCrossEntropy<bfloat16>"};

}  // namespace wgqa::cuda
