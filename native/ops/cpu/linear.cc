#include "ops/cpu/linear.h"

#include "ops/cpu/block_products.h"
#include "ops/cpu/block_weight.h"

namespace wgqa::cpu {

std::unique_ptr<PackedWeight> LinearProducts::pack(const ConstTensorView& weight, DType dtype) {
  require(weight.rank == 2 && weight.strides[1] == 1, "pack: the weight's rows must be dense");
  return packBlocks(weight, dtype, blockKernel(dtype), memory_);
}

void LinearProducts::run(std::span<const Linear> products, Scratch& scratch) {
  blockProducts(products, scratch);
}

}  // namespace wgqa::cpu
