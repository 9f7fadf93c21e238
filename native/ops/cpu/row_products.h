// Products with a weight that stays as it lies in its file: [outFeatures, inFeatures], row-major.
#pragma once

#include <cstdint>
#include <span>

#include "base/dtype.h"
#include "ops/cpu/scratch.h"

namespace wgqa::cpu {

/// out[m][n] = alpha * dot(x[m], weight[n]) + beta * out[m][n] in float32. x and weight are both
/// float32 or both bfloat16. Strides are in elements.
struct RowProducts {
  const void* x = nullptr;  // [rows, inFeatures]
  std::int64_t xStride = 0;
  const void* weight = nullptr;  // [outFeatures, inFeatures]
  std::int64_t weightStride = 0;
  float* out = nullptr;  // [rows, outFeatures]
  std::int64_t outStride = 0;
  std::int64_t rows = 0;
  std::int64_t outFeatures = 0;
  std::int64_t inFeatures = 0;
  DType dtype = DType::float32;
  float alpha = 1.0f;
  float beta = 0.0f;
};

/// Products of one x. Each element is summed in an order that depends on inFeatures only, so a
/// row's result is the same, bit for bit, whatever else is in the batch and however many threads
/// there are.
void rowProducts(std::span<const RowProducts> products, Scratch& scratch);

}  // namespace wgqa::cpu
