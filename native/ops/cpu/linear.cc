#include "ops/cpu/linear.h"

#include <cstddef>

#include "base/buffer.h"
#include "base/parallel.h"
#include "ops/cpu/cast.h"
#include "ops/cpu/grain.h"
#include "ops/cpu/matmul.h"

namespace wgqa::cpu {
namespace {

class CpuPackedWeight : public PackedWeight {
 public:
  ConstTensorView view;
  Buffer owned;
};

}  // namespace

std::unique_ptr<PackedWeight> packWeight(const ConstTensorView& weight, DType dtype) {
  auto packed = std::make_unique<CpuPackedWeight>();
  packed->outFeatures = weight.shape[0];
  packed->inFeatures = weight.shape[1];
  packed->dtype = dtype;
  packed->bytes = weight.elements() * static_cast<std::int64_t>(bytesOf(dtype));
  packed->owned = Buffer(static_cast<std::size_t>(weight.elements()) * 4);
  for (std::int64_t row = 0; row < weight.shape[0]; ++row) {
    const std::byte* from = weight.as<std::byte>() + row * weight.strides[0] * bytesOf(weight.dtype);
    float* to = packed->owned.as<float>() + row * weight.shape[1];
    convertElements(from, weight.dtype, to, DType::float32, weight.shape[1]);
  }
  packed->view =
      ConstTensorView(packed->owned.as<void>(), DType::float32, {weight.shape[0], weight.shape[1]});
  return packed;
}

void linear(const Linear& p, Scratch& scratch) {
  const auto& weight = static_cast<const CpuPackedWeight&>(*p.weight);
  ConstTensorView x = p.x;
  if (x.dtype == DType::bfloat16) {
    float* wide = scratch.shared<float>(SharedScratch::first, x.elements());
    for (std::int64_t row = 0; row < x.shape[0]; ++row) {
      convertElements(x.as<BFloat16>() + row * x.strides[0], DType::bfloat16,
                      wide + row * x.shape[1], DType::float32, x.shape[1]);
    }
    x = ConstTensorView(wide, DType::float32, {x.shape[0], x.shape[1]});
  }
  matmul({x, weight.view.transposed(), p.out, p.alpha, p.beta});
}

}  // namespace wgqa::cpu
