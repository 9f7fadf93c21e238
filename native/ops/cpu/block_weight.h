// A weight cut into blocks of features, each as one of our kernels reads it.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "ops/cpu/block_kernel.h"
#include "ops/cpu/weight_memory.h"
#include "ops/ops.h"

namespace wgqa::cpu {

class BlockWeight final : public PackedWeight {
 public:
  const BlockKernel* kernel = nullptr;
  MemoryPiece memory;  // [blocks][words][kernel->features] words
  /// Of int8: a feature's scale and, where x enters as unsigned bytes, which are 128 too large, the
  /// difference to the sums of the integers: both [outFeatures], padded to whole blocks.
  std::vector<float> scales;
  std::vector<std::int32_t> offsets;

  std::int64_t words() const { return wordsOf(inFeatures, dtype); }
  std::int64_t blocks() const { return divideUp(outFeatures, kernel->features); }
  std::int64_t blockBytes() const { return words() * kernel->features * kWordBytes; }
};

/// Rows of a weight (float32 | float16 | bfloat16) in `dtype`, padded with zeros to whole words.
/// int8 rows are quantised symmetrically, each with a scale of its own.
void convertRows(const ConstTensorView& rows, DType dtype, std::byte* converted, float* scales);

std::unique_ptr<BlockWeight> packBlocks(const ConstTensorView& weight, DType dtype,
                                        const BlockKernel& kernel, WeightMemory& memory);

}  // namespace wgqa::cpu
