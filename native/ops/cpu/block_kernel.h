// Kernels that multiply rows with a block of a weight's features, and how such a block lies. A
// block is passed in the order in which it lies in memory: one row takes as long as reading it.
#pragma once

#include <cstdint>

#include "base/dtype.h"
#include "ops/cpu/grain.h"

namespace wgqa::cpu {

/// Rows of x and blocks are seen as words of 4 bytes: one float32, two bfloat16 or four bytes that
/// follow each other in the depth. A row is padded with zeros to a whole word.
inline constexpr std::int64_t kWordBytes = 4;

constexpr std::int64_t wordsOf(std::int64_t inFeatures, DType dtype) {
  return divideUp(inFeatures * static_cast<std::int64_t>(bytesOf(dtype)), kWordBytes);
}

/// sums[row][feature] = x[row] . weight[feature] in float32; or, with bytes, offsets[feature] + the
/// product of x as unsigned bytes and of the weight as signed ones, in int32.
struct BlockRows {
  const std::byte* x = nullptr;  // [rows, words]
  std::int64_t xStride = 0;      // bytes
  std::int64_t rows = 0;
  std::int64_t words = 0;
  const std::byte* weight = nullptr;      // [words, features]
  const std::int32_t* offsets = nullptr;  // [features], of bytes
  void* sums = nullptr;                   // [rows, features]
};

/// A row's sums have the same bits whatever other rows there are.
struct BlockKernel {
  std::int64_t features = 0;  // of a block
  void (*multiply)(const BlockRows& p) = nullptr;
};

/// By the processor's instructions for dot products of short types, AVX512-BF16 for bfloat16 and
/// AVX512-VNNI for int8; null where it lacks them.
const BlockKernel* dotKernel(DType dtype);

/// In float32 on any processor, for weights in float32 or bfloat16.
const BlockKernel* floatKernel(DType dtype);

}  // namespace wgqa::cpu
