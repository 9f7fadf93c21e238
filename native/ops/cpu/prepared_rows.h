// Rows of x in the form in which a block kernel reads them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/cpu/block_weight.h"
#include "ops/tensor_view.h"

namespace wgqa::cpu {

struct PreparedRows {
  const std::byte* x = nullptr;
  std::int64_t stride = 0;        // bytes
  const float* scales = nullptr;  // [rows] of quantised ones
};

/// Bytes of a row that is prepared for products with `weight`.
std::int64_t preparedRowBytes(const BlockWeight& weight);

/// Whether rows of x can be read where they are.
bool liesPrepared(const ConstTensorView& x, const BlockWeight& weight);

/// Prepares x (float32, or bfloat16 for weights in bfloat16) on the calling thread: in `rows`, of
/// preparedRowBytes() each, and of quantised rows the scales in `scales`.
PreparedRows prepareRows(const ConstTensorView& x, const BlockWeight& weight, std::byte* rows,
                         float* scales);

}  // namespace wgqa::cpu
