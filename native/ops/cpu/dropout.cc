#include "base/parallel.h"
#include "ops/cpu/grain.h"
#include "ops/cpu/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/dropout.cc"
#include "hwy/foreach_target.h"

#include "ops/cpu/simd_inl.h"

HWY_BEFORE_NAMESPACE();
namespace wgqa::cpu::HWY_NAMESPACE {

// Columns [begin, end) of one row; there may be no residual.
template <class Out>
void dropoutStretch(const Dropout& p, std::int64_t row, std::int64_t begin, std::int64_t end) {
  const FloatTag d;
  const std::int64_t count = end - begin;
  const float* x = p.x.as<float>() + row * p.x.strides[0] + begin;
  const float* residual =
      p.residual.given() ? p.residual.as<float>() + row * p.residual.strides[0] + begin : nullptr;
  Out* out = p.out.as<Out>() + row * p.out.strides[0] + begin;
  const bool drops = p.dropout.rate > 0.0f;
  const float scale = 1.0f / (1.0f - p.dropout.rate);
  HWY_ALIGN std::uint32_t words[kRandomColumns];
  if (drops) randomStretch(p.dropout.random, row, begin, words);
  for (std::int64_t i = 0; i < count; i += hn::Lanes(d)) {
    const std::size_t valid = lanesLeft(count, i);
    FloatVector value = load(x + i, valid);
    if (drops) value = keepOrDrop(value, words + i, p.dropout.threshold(), scale);
    if (residual != nullptr) value = hn::Add(value, load(residual + i, valid));
    store(value, out + i, valid);
  }
}

void dropoutRows(const Dropout& p, std::int64_t begin, std::int64_t end) {
  const std::int64_t columns = p.x.shape[1];
  for (std::int64_t row = begin; row < end; ++row) {
    for (std::int64_t column = 0; column < columns; column += kRandomColumns) {
      const std::int64_t last = std::min(column + kRandomColumns, columns);
      if (p.out.dtype == DType::bfloat16) {
        dropoutStretch<BFloat16>(p, row, column, last);
      } else {
        dropoutStretch<float>(p, row, column, last);
      }
    }
  }
}

}  // namespace wgqa::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wgqa::cpu {
namespace {
HWY_EXPORT(dropoutRows);
}

void dropout(const Dropout& p) {
  parallelFor(p.x.shape[0], rowGrain(p.x.shape[1]), [&](std::int64_t begin, std::int64_t end, int) {
    HWY_DYNAMIC_DISPATCH(dropoutRows)(p, begin, end);
  });
}

}  // namespace wgqa::cpu
#endif
