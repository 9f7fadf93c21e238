// The last step of a product that was computed in a tile of its own: scaled, and added to the
// output.
#pragma once

#include <cstdint>

namespace wgqa::cpu {

/// out[row][i] = alpha * sum + beta * out[row][i]. int32 sums are those of quantised rows: the sum
/// is sums[row][i] * rowScales[row] * columnScales[i]. out is not read when beta is 0.
struct ProductSums {
  const void* sums = nullptr;  // [rows, columns]
  std::int64_t sumsStride = 0;
  const float* rowScales = nullptr;     // [rows] of int32
  const float* columnScales = nullptr;  // [columns] of int32
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  float alpha = 1.0f;
  float beta = 0.0f;
  float* out = nullptr;  // [rows, columns]
  std::int64_t outStride = 0;
};

void addFloatSums(const ProductSums& p);
void addIntegerSums(const ProductSums& p);

}  // namespace wgqa::cpu
