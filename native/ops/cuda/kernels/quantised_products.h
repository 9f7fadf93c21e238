// Arguments of the kernels in quantised_products.cu.
#pragma once

#include "ops/cuda/kernels/kernel.h"

namespace wgqa::cuda {

/// int8 matrices have multiples of so many rows and columns, the last ones zero.
inline constexpr int kQuantisedAlignment = 16;

struct QuantiseRowsArguments {
  const void* rows;        // [rows, columns] of the kernel's type
  std::int8_t* integers;   // [blocks, integerStride], zeros from `rowCount` on
  float* scales;           // [rows]
  std::int64_t rowStride;  // elements from row to row
  std::int64_t integerStride;
  std::int64_t rowCount;
  std::int64_t columns;
};

/// out = alpha * sums * scales + beta * out; out is not read when beta is 0.
struct ScaleSumsArguments {
  const std::int32_t* sums;   // [rows, sumStride]
  const float* rowScales;     // [rows]
  const float* columnScales;  // [columns]
  void* out;                  // [rows, columns] of the kernel's type
  std::int64_t sumStride;
  std::int64_t outStride;
  std::int64_t columns;
  float alpha;
  float beta;
};

// Of float32, float16, bfloat16 rows.
inline constexpr Kernel<QuantiseRowsArguments> kQuantiseRows[] = {
    {"quantiseRows<float32>"}, {"quantiseRows<float16>"}, {"quantiseRows<bfloat16>"}};
// To float32, bfloat16.
inline constexpr Kernel<ScaleSumsArguments> kScaleSums[] = {{"scaleSums<float32>"},
                                                            {"scaleSums<bfloat16>"}};

}  // namespace wgqa::cuda
