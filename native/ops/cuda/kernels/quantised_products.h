// Arguments of the kernels in quantised_products.cu.
#pragma once

#include "ops/cuda/kernels/elements.h"
#include "ops/cuda/kernels/kernel.h"

namespace wgqa::cuda {

/// int8 matrices have multiples of so many rows and columns, the last ones zero; columns of float16
/// rows, too.
inline constexpr int kQuantisedAlignment = 16;

template <typename Stored>
struct QuantiseRowsArguments {
  const void* rows;        // [rows, columns] of the kernel's type
  Stored* stored;          // [blocks, storedStride], zeros from `rowCount` on
  float* scales;           // [rows]
  std::int64_t rowStride;  // elements from row to row
  std::int64_t storedStride;
  std::int64_t rowCount;
  std::int64_t columns;
};

/// out = alpha * sums * scales + beta * out; out is not read when beta is 0.
template <typename Sum>
struct ScaleSumsArguments {
  const Sum* sums;            // [rows, sumStride]
  const float* rowScales;     // [rows]
  const float* columnScales;  // [columns], or null: 1
  void* out;                  // [rows, columns] of the kernel's type
  std::int64_t sumStride;
  std::int64_t outStride;
  std::int64_t columns;
  float alpha;
  float beta;
};

// Of float32, float16, bfloat16 rows.
inline constexpr Kernel<QuantiseRowsArguments<std::int8_t>> kQuantiseRows[] = {
    {"quantiseRows<float32, int8>"},
    {"quantiseRows<float16, int8>"},
    {"quantiseRows<bfloat16, int8>"}};
inline constexpr Kernel<QuantiseRowsArguments<Float16Element>> kQuantiseRowsToFloat16{
    "quantiseRows<float32, float16>"};
// To float32, bfloat16.
inline constexpr Kernel<ScaleSumsArguments<std::int32_t>> kScaleSums[] = {
    {"scaleSums<int32, float32>"}, {"scaleSums<int32, bfloat16>"}};
inline constexpr Kernel<ScaleSumsArguments<float>> kScaleFloatSums{"scaleSums<float32, float32>"};

}  // namespace wgqa::cuda
