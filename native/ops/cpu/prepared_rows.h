// Rows of x in the form in which a block kernel reads them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/cpu/block_kernel.h"
#include "ops/cpu/scratch.h"
#include "ops/tensor_view.h"

namespace wgqa::cpu {

struct PreparedRows {
  const std::byte* x = nullptr;
  std::int64_t stride = 0;        // bytes
  const float* scales = nullptr;  // [rows] of quantised ones
};

/// x (float32, or bfloat16 for weights in bfloat16) for a weight of `words` words in `dtype`. Rows
/// that have the form already are not copied; others lie in the first and second shared scratch.
PreparedRows prepareRows(const ConstTensorView& x, RowForm form, DType dtype, std::int64_t words,
                         Scratch& scratch);

}  // namespace wgqa::cpu
