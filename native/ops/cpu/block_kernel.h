// Kernels that multiply rows with a block of a weight's features, and how such a block lies. A
// block is passed in the order in which it lies in memory: one row takes as long as reading it.
#pragma once

#include <cstdint>

#include "base/dtype.h"
#include "ops/cpu/grain.h"

namespace wgqa::cpu {

/// A block is seen as words of 4 bytes: one float32, two bfloat16 or four bytes that follow each
/// other in the depth. A feature is padded with zeros to a whole word.
inline constexpr std::int64_t kWordBytes = 4;

constexpr std::int64_t wordsOf(std::int64_t inFeatures, DType dtype) {
  return divideUp(inFeatures * static_cast<std::int64_t>(bytesOf(dtype)), kWordBytes);
}

/// How a kernel reads rows of x. The depth of a row is padded with zeros to whole words of the
/// weight.
enum class RowForm : std::uint8_t {
  floats,         // float32
  bfloat16Pairs,  // bfloat16, as they come
  signedBytes,    // quantised
  unsignedBytes,  // quantised, plus 128
  shorts,         // quantised, in 16 bits; elements 0, 2, 1, 3 of each four
};

/// sums[row][feature] = x[row] . weight[feature], in float32, or in int32 of bytes. Of unsigned
/// bytes: plus offsets[feature].
struct BlockRows {
  const std::byte* x = nullptr;  // [rows, words], in the kernel's form
  std::int64_t xStride = 0;      // bytes
  std::int64_t rows = 0;
  std::int64_t words = 0;
  const std::byte* weight = nullptr;      // [words, features]
  const std::int32_t* offsets = nullptr;  // [features], of bytes
  void* sums = nullptr;                   // [rows, features]
};

/// A row's sums have the same bits whatever other rows there are. Sums of bytes have the same bits
/// in every kernel.
struct BlockKernel {
  std::int64_t features = 0;  // of a block
  RowForm rowForm = RowForm::floats;
  void (*multiply)(const BlockRows& p) = nullptr;
};

/// By the processor's instructions for dot products of short types: AVX512-BF16 for bfloat16,
/// AVX512-VNNI or Arm's dot product for int8. Null where it lacks them.
const BlockKernel* dotKernel(DType dtype);

/// On any processor, for weights in float32, bfloat16 or int8, whose elements are widened on the
/// way.
const BlockKernel& wideKernel(DType dtype);

/// The faster one.
inline const BlockKernel& blockKernel(DType dtype) {
  const BlockKernel* kernel = dotKernel(dtype);
  return kernel != nullptr ? *kernel : wideKernel(dtype);
}

}  // namespace wgqa::cpu
