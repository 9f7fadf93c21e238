// Products with a packed weight: which weights are kept how, and who multiplies with them.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "ops/cpu/blocked_products.h"
#include "ops/cpu/row_products.h"
#include "ops/cpu/scratch.h"
#include "ops/ops.h"

namespace wgqa::cpu {

/// float32 weights stay where they are: rowProducts() on the borrowed rows reads memory as fast as
/// oneDNN's blocked layout does at one row (faster from DRAM), stays within a quarter of it at many
/// rows (at worst 30 %, with thousands of inputs), and spares load time the copy. A dense float32
/// source must outlive its packed weight. bfloat16 and int8 weights are blocked for oneDNN, which
/// has the processor's dot products of short types that Highway 1.0 lacks: twice and four times as
/// fast from a few rows on.
///
/// Either way a row's result does not depend on the other rows of the batch.
class LinearProducts {
 public:
  std::unique_ptr<PackedWeight> pack(const ConstTensorView& weight, DType dtype) const;
  /// Of one x, with weights of one dtype.
  void run(std::span<const Linear> products, Scratch& scratch);

 private:
  BlockedProducts blocked_;
  std::vector<RowProducts> rows_;  // of the running call
};

}  // namespace wgqa::cpu
