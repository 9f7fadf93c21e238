#include "ops/cpu/chunks.h"
#include "ops/cpu/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/squared_norm.cc"
#include "hwy/foreach_target.h"

#include "ops/cpu/simd_inl.h"

HWY_BEFORE_NAMESPACE();
namespace wgqa::cpu::HWY_NAMESPACE {

double squaredNormOf(const float* values, std::int64_t count) {
  return sumOfSquares(values, count);
}

}  // namespace wgqa::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wgqa::cpu {
namespace {
HWY_EXPORT(squaredNormOf);
}

double squaredNorm(std::span<const ConstTensorView> tensors, Scratch& scratch) {
  const auto count = static_cast<std::int64_t>(tensors.size());
  const auto elementsOf = [&](std::int64_t i) { return tensors[i].elements(); };
  const std::int64_t chunks = countChunks(count, elementsOf);
  double* partial = scratch.shared<double>(SharedScratch::first, chunks);
  forEachChunk(count, elementsOf,
               [&](std::int64_t i, std::int64_t begin, std::int64_t end, std::int64_t chunk) {
                 partial[chunk] = HWY_DYNAMIC_DISPATCH(squaredNormOf)(
                     tensors[i].as<float>() + begin, end - begin);
               });
  double sum = 0.0;
  for (std::int64_t chunk = 0; chunk < chunks; ++chunk) sum += partial[chunk];
  return sum;
}

}  // namespace wgqa::cpu
#endif
