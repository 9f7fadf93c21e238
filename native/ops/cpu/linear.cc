#include "ops/cpu/linear.h"

#include "base/buffer.h"
#include "base/parallel.h"
#include "ops/cpu/cast.h"
#include "ops/cpu/grain.h"

namespace wgqa::cpu {
namespace {

/// A weight as rows of its dtype, borrowed or owned.
class RowWeight final : public PackedWeight {
 public:
  const void* rows = nullptr;
  std::int64_t stride = 0;
  Buffer owned;  // empty if borrowed
};

void copyRows(const ConstTensorView& weight, RowWeight& packed) {
  const std::int64_t columns = packed.inFeatures;
  const auto rowBytes = static_cast<std::int64_t>(bytesOf(packed.dtype)) * columns;
  packed.owned = Buffer(static_cast<std::size_t>(packed.outFeatures * rowBytes));
  parallelFor(
      packed.outFeatures, rowGrain(columns), [&](std::int64_t begin, std::int64_t end, int) {
        for (std::int64_t row = begin; row < end; ++row) {
          convertElements(weight.rows(row, 1).data, weight.dtype,
                          packed.owned.as<std::byte>() + row * rowBytes, packed.dtype, columns);
        }
      });
  packed.rows = packed.owned.as<void>();
  packed.stride = columns;
}

}  // namespace

std::unique_ptr<PackedWeight> LinearProducts::pack(const ConstTensorView& weight,
                                                   DType dtype) const {
  require(weight.rank == 2 && weight.strides[1] == 1, "pack: the weight's rows must be dense");
  if (dtype != DType::float32) {
    if (auto blocked = blocked_.pack(weight, dtype)) return blocked;
    require(dtype == DType::bfloat16, "oneDNN has no int8 products for this processor");
  }
  auto packed = std::make_unique<RowWeight>();
  packed->outFeatures = weight.shape[0];
  packed->inFeatures = weight.shape[1];
  packed->dtype = dtype;
  packed->bytes = weight.elements() * static_cast<std::int64_t>(bytesOf(dtype));
  if (weight.dtype == dtype) {
    packed->rows = weight.data;
    packed->stride = weight.strides[0];
  } else {
    copyRows(weight, *packed);
  }
  return packed;
}

void LinearProducts::run(std::span<const Linear> products, Scratch& scratch) {
  if (dynamic_cast<const BlockedWeight*>(products.front().weight) != nullptr) {
    return blocked_.run(products, scratch);
  }
  rows_.clear();
  for (const Linear& p : products) {
    const auto& weight = dynamic_cast<const RowWeight&>(*p.weight);
    rows_.push_back({.x = p.x.data,
                     .xStride = p.x.strides[0],
                     .weight = weight.rows,
                     .weightStride = weight.stride,
                     .out = p.out.as<float>(),
                     .outStride = p.out.strides[0],
                     .rows = p.x.shape[0],
                     .outFeatures = weight.outFeatures,
                     .inFeatures = weight.inFeatures,
                     .dtype = weight.dtype,
                     .alpha = p.alpha,
                     .beta = p.beta});
  }
  rowProducts(rows_, scratch);
}

}  // namespace wgqa::cpu
