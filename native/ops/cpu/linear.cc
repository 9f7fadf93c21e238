#include "ops/cpu/linear.h"

#include "ops/cpu/block_products.h"
#include "ops/cpu/block_weight.h"

namespace wgqa::cpu {

bool hasInt8Products() { return dotKernel(DType::int8) != nullptr || LibraryProducts::hasInt8(); }

std::unique_ptr<PackedWeight> LinearProducts::pack(const ConstTensorView& weight, DType dtype) {
  require(weight.rank == 2 && weight.strides[1] == 1, "pack: the weight's rows must be dense");
  const BlockKernel* kernel = dotKernel(dtype);
  if (kernel == nullptr && dtype != DType::float32) {
    if (auto packed = library_.pack(weight, dtype)) return packed;
    require(dtype == DType::bfloat16, "there are no int8 products for this processor");
  }
  return packBlocks(weight, dtype, kernel != nullptr ? *kernel : *floatKernel(dtype), memory_);
}

void LinearProducts::run(std::span<const Linear> products, Scratch& scratch) {
  if (dynamic_cast<const BlockWeight*>(products.front().weight) != nullptr) {
    return blockProducts(products, scratch);
  }
  library_.run(products, scratch);
}

}  // namespace wgqa::cpu
