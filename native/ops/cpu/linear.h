// Products with a packed weight.
#pragma once

#include <memory>
#include <span>

#include "ops/cpu/scratch.h"
#include "ops/cpu/weight_memory.h"
#include "ops/ops.h"

namespace wgqa::cpu {

/// Weights are cut into blocks for kernels of our own (block_kernel.h), which read them at the rate
/// of memory where rows are few, and are as fast as oneDNN where they are many. Every type has a
/// kernel on every processor.
///
/// A row's result does not depend on the other rows of the batch; with int8 weights it does not
/// depend on the processor either.
class LinearProducts {
 public:
  std::unique_ptr<PackedWeight> pack(const ConstTensorView& weight, DType dtype);
  /// Of one x, with weights of one dtype.
  void run(std::span<const Linear> products, Scratch& scratch);

 private:
  WeightMemory memory_;
};

}  // namespace wgqa::cpu
