// Products with a packed weight: which weights are kept how, and who multiplies with them.
#pragma once

#include <memory>
#include <span>

#include "ops/cpu/library_products.h"
#include "ops/cpu/scratch.h"
#include "ops/cpu/weight_memory.h"
#include "ops/ops.h"

namespace wgqa::cpu {

/// Whether there are products with int8 weights on this processor.
bool hasInt8Products();

/// float32 weights, and those of short types where the processor has dot products of them, are cut
/// into blocks for kernels of our own (block_kernel.h): at one row these read at the rate of
/// memory, where oneDNN's programs leave a third of it unused, and at many they are as fast. Other
/// weights of short types go to the library, which has them for AVX-512 without AVX512-BF16; what
/// it lacks is computed in float32.
///
/// Either way a row's result does not depend on the other rows of the batch.
class LinearProducts {
 public:
  std::unique_ptr<PackedWeight> pack(const ConstTensorView& weight, DType dtype);
  /// Of one x, with weights of one dtype.
  void run(std::span<const Linear> products, Scratch& scratch);

 private:
  WeightMemory memory_;
  LibraryProducts library_;
};

}  // namespace wgqa::cpu
