// Products of rows with one block of a weight, by the processor's instructions for dot products.
// The block is passed in the order in which it lies in memory: one row takes as long as reading it.
#pragma once

#include <cstdint>

#include "base/dtype.h"

namespace wgqa::cpu {

/// Features of a block.
inline constexpr std::int64_t kBlockFeatures = 64;

/// Elements of x and of the weight that one instruction multiplies and adds: 4 bytes of them.
constexpr std::int64_t elementGroup(DType dtype) {
  return 4 / static_cast<std::int64_t>(bytesOf(dtype));
}

/// Depth, padded with zeros, is a multiple of so many groups.
inline constexpr std::int64_t kBlockGroups = 16;

constexpr std::int64_t blockDepth(std::int64_t inFeatures, DType dtype) {
  const std::int64_t step = kBlockGroups * elementGroup(dtype);
  return (inFeatures + step - 1) / step * step;
}

/// sums[row][feature] = offsets[feature] + x[row] . weight[feature]. With g = elementGroup(dtype):
/// bfloat16 with float32 sums, added in the order ..., 2 k + 1, 2 k, 2 k + 3, 2 k + 2, ... of the
/// depth; or unsigned bytes with int8 and int32 sums.
struct BlockRows {
  DType dtype = DType::bfloat16;  // of the weight
  const void* x = nullptr;        // [rows, depth]
  std::int64_t xStride = 0;       // elements
  std::int64_t rows = 0;
  std::int64_t depth = 0;                 // a multiple of kBlockGroups groups
  const void* weight = nullptr;           // [depth / g][kBlockFeatures][g]
  const std::int32_t* offsets = nullptr;  // [kBlockFeatures] of int8
  void* sums = nullptr;                   // [rows, kBlockFeatures]
};

/// Whether this processor has the instructions: AVX512-BF16 for bfloat16, AVX512-VNNI for int8.
bool hasBlockKernel(DType dtype);

void multiplyBlock(const BlockRows& p);

}  // namespace wgqa::cpu
