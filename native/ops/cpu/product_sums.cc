#include "ops/cpu/product_sums.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/product_sums.cc"
#include "hwy/foreach_target.h"

#include "ops/cpu/simd_inl.h"

HWY_BEFORE_NAMESPACE();
namespace wgqa::cpu::HWY_NAMESPACE {

HWY_INLINE FloatVector loadIntegers(const std::int32_t* from, std::size_t valid) {
  const FloatTag d;
  const hn::Rebind<std::int32_t, FloatTag> words;
  if (valid == hn::Lanes(d)) return hn::ConvertTo(d, hn::LoadU(words, from));
  VectorRoom<std::int32_t> room;
  std::copy_n(from, valid, room.lanes);
  return hn::ConvertTo(d, hn::LoadU(words, room.lanes));
}

// out[i] = sumAt(i, valid) + beta * out[i] for a row.
template <class SumAt>
HWY_INLINE void addRow(const ProductSums& p, float* out, const SumAt& sumAt) {
  if (p.beta == 0.0f) {
    return forVectors(p.columns, [&](std::int64_t i, std::size_t valid)
                                     HWY_ATTR { store(sumAt(i, valid), out + i, valid); });
  }
  const auto beta = hn::Set(FloatTag(), p.beta);
  forVectors(p.columns, [&](std::int64_t i, std::size_t valid) HWY_ATTR {
    store(hn::Add(sumAt(i, valid), hn::Mul(load(out + i, valid), beta)), out + i, valid);
  });
}

void addFloats(const ProductSums& p) {
  const auto alpha = hn::Set(FloatTag(), p.alpha);
  for (std::int64_t row = 0; row < p.rows; ++row) {
    const float* sums = static_cast<const float*>(p.sums) + row * p.sumsStride;
    addRow(p, p.out + row * p.outStride, [&](std::int64_t i, std::size_t valid) HWY_ATTR {
      return hn::Mul(load(sums + i, valid), alpha);
    });
  }
}

void addIntegers(const ProductSums& p) {
  for (std::int64_t row = 0; row < p.rows; ++row) {
    const auto* sums = static_cast<const std::int32_t*>(p.sums) + row * p.sumsStride;
    const auto factor = hn::Set(FloatTag(), p.alpha * p.rowScales[row]);
    addRow(p, p.out + row * p.outStride, [&](std::int64_t i, std::size_t valid) HWY_ATTR {
      const auto scale = hn::Mul(load(p.columnScales + i, valid), factor);
      return hn::Mul(loadIntegers(sums + i, valid), scale);
    });
  }
}

}  // namespace wgqa::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wgqa::cpu {

HWY_EXPORT(addFloats);
HWY_EXPORT(addIntegers);

void addFloatSums(const ProductSums& p) { HWY_DYNAMIC_DISPATCH(addFloats)(p); }
void addIntegerSums(const ProductSums& p) { HWY_DYNAMIC_DISPATCH(addIntegers)(p); }

}  // namespace wgqa::cpu
#endif
