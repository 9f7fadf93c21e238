// What the Highway kernels of this folder share: loads and stores of every element type with a
// short last vector, sums, the logistic function and random numbers. Compiled once per target.
#if defined(WGQA_OPS_CPU_SIMD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef WGQA_OPS_CPU_SIMD_INL_H_
#undef WGQA_OPS_CPU_SIMD_INL_H_
#else
#define WGQA_OPS_CPU_SIMD_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "base/dtype.h"
#include "hwy/contrib/math/math-inl.h"
#include "hwy/highway.h"
#include "ops/cpu/tile_philox_inl.h"

HWY_BEFORE_NAMESPACE();
namespace wgqa::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::ScalableTag<float>;
using FloatVector = hn::Vec<FloatTag>;

/// Elements left of [0, count) at `index`, at most one vector of them.
HWY_INLINE std::size_t lanesLeft(std::int64_t count, std::int64_t index) {
  return static_cast<std::size_t>(
      std::min<std::int64_t>(count - index, static_cast<std::int64_t>(hn::Lanes(FloatTag()))));
}

/// Calls visit(index, valid) for each vector of [0, count): whole ones, whose `valid` the compiler
/// knows, and then a shorter one.
template <class Visit>
HWY_INLINE void forVectors(std::int64_t count, const Visit& visit) {
  const std::size_t lanes = hn::Lanes(FloatTag());
  const auto step = static_cast<std::int64_t>(lanes);
  std::int64_t i = 0;
  for (; i + step <= count; i += step) visit(i, lanes);
  if (i < count) visit(i, static_cast<std::size_t>(count - i));
}

/// Room for one vector of any type: where a short last vector goes through. Highway's masked loads
/// and blended stores touch the whole vector (and want it aligned) where the instruction set has no
/// masks: beyond the end of a tensor, and beside what another thread writes.
template <typename T>
struct alignas(HWY_MAX_BYTES) VectorRoom {
  T lanes[HWY_MAX_BYTES / sizeof(T)] = {};
};

// ---------------------------------------------------------------- loads: lanes past `valid` are 0

HWY_INLINE FloatVector load(const float* from, std::size_t valid) {
  const FloatTag d;
  if (valid == hn::Lanes(d)) return hn::LoadU(d, from);
  VectorRoom<float> room;
  std::copy_n(from, valid, room.lanes);
  return hn::Load(d, room.lanes);
}

HWY_INLINE FloatVector load(const BFloat16* from, std::size_t valid) {
  const FloatTag d;
  const hn::RebindToUnsigned<FloatTag> words;
  const hn::Rebind<std::uint16_t, FloatTag> halves;
  const auto widen = [&](const std::uint16_t* bits) HWY_ATTR {
    return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(words, hn::LoadU(halves, bits))));
  };
  const auto* bits = reinterpret_cast<const std::uint16_t*>(from);
  if (valid == hn::Lanes(d)) return widen(bits);
  VectorRoom<std::uint16_t> room;
  std::copy_n(bits, valid, room.lanes);
  return widen(room.lanes);
}

HWY_INLINE FloatVector load(const Float16* from, std::size_t valid) {
  const FloatTag d;
  VectorRoom<float> room;
  for (std::size_t i = 0; i < valid; ++i) room.lanes[i] = toFloat(from[i]);
  return hn::Load(d, room.lanes);
}

// ------------------------------------------------------------- stores of the first `valid` lanes

HWY_INLINE void store(FloatVector value, float* to, std::size_t valid) {
  const FloatTag d;
  if (valid == hn::Lanes(d)) {
    hn::StoreU(value, d, to);
  } else {
    VectorRoom<float> room;
    hn::Store(value, d, room.lanes);
    std::copy_n(room.lanes, valid, to);
  }
}

/// Rounds to nearest even; NaN stays NaN.
HWY_INLINE void store(FloatVector value, BFloat16* to, std::size_t valid) {
  const FloatTag d;
  const hn::RebindToUnsigned<FloatTag> words;
  const hn::Rebind<std::uint16_t, FloatTag> halves;
  const auto bits = hn::BitCast(words, value);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(words, 1u));
  const auto rounded = hn::Add(hn::Add(bits, hn::Set(words, 0x7fffu)), odd);
  const auto quiet = hn::Or(bits, hn::Set(words, 0x400000u));
  const auto isNumber = hn::RebindMask(words, hn::Eq(value, value));
  const auto upper = hn::ShiftRight<16>(hn::IfThenElse(isNumber, rounded, quiet));
  const auto packed = hn::TruncateTo(halves, upper);
  auto* out = reinterpret_cast<std::uint16_t*>(to);
  if (valid == hn::Lanes(d)) {
    hn::StoreU(packed, halves, out);
  } else {
    VectorRoom<std::uint16_t> room;
    hn::StoreU(packed, halves, room.lanes);
    std::copy_n(room.lanes, valid, out);
  }
}

HWY_INLINE void store(FloatVector value, Float16* to, std::size_t valid) {
  VectorRoom<float> room;
  hn::Store(value, FloatTag(), room.lanes);
  for (std::size_t i = 0; i < valid; ++i) to[i] = toFloat16(room.lanes[i]);
}

// ---------------------------------------------------------------- arithmetic

HWY_INLINE float sumOfLanes(FloatVector value) {
  return hn::GetLane(hn::SumOfLanes(FloatTag(), value));
}

/// Sum of a[i] * b[i], in an order that depends on `count` only.
HWY_INLINE float dotProduct(const float* a, const float* b, std::int64_t count) {
  const FloatTag d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  FloatVector sum0 = hn::Zero(d), sum1 = hn::Zero(d), sum2 = hn::Zero(d), sum3 = hn::Zero(d);
  std::int64_t i = 0;
  for (; i + 4 * lanes <= count; i += 4 * lanes) {
    sum0 = hn::MulAdd(hn::LoadU(d, a + i), hn::LoadU(d, b + i), sum0);
    sum1 = hn::MulAdd(hn::LoadU(d, a + i + lanes), hn::LoadU(d, b + i + lanes), sum1);
    sum2 = hn::MulAdd(hn::LoadU(d, a + i + 2 * lanes), hn::LoadU(d, b + i + 2 * lanes), sum2);
    sum3 = hn::MulAdd(hn::LoadU(d, a + i + 3 * lanes), hn::LoadU(d, b + i + 3 * lanes), sum3);
  }
  for (; i < count; i += lanes) {
    const std::size_t valid = lanesLeft(count, i);
    sum0 = hn::MulAdd(load(a + i, valid), load(b + i, valid), sum0);
  }
  return sumOfLanes(hn::Add(hn::Add(sum0, sum1), hn::Add(sum2, sum3)));
}

/// Sum of squares in double.
HWY_INLINE double sumOfSquares(const float* values, std::int64_t count) {
  const hn::ScalableTag<double> wide;
  const hn::Rebind<float, decltype(wide)> narrow;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(wide));
  auto sum0 = hn::Zero(wide), sum1 = hn::Zero(wide);
  std::int64_t i = 0;
  for (; i + 2 * lanes <= count; i += 2 * lanes) {
    const auto x0 = hn::PromoteTo(wide, hn::LoadU(narrow, values + i));
    const auto x1 = hn::PromoteTo(wide, hn::LoadU(narrow, values + i + lanes));
    sum0 = hn::MulAdd(x0, x0, sum0);
    sum1 = hn::MulAdd(x1, x1, sum1);
  }
  double sum = hn::GetLane(hn::SumOfLanes(wide, hn::Add(sum0, sum1)));
  for (; i < count; ++i) sum += double{values[i]} * values[i];
  return sum;
}

/// to = from * factor; to may be from.
HWY_INLINE void scaleInto(const float* from, float factor, std::int64_t count, float* to) {
  const FloatVector scale = hn::Set(FloatTag(), factor);
  for (std::int64_t i = 0; i < count; i += hn::Lanes(FloatTag())) {
    const std::size_t valid = lanesLeft(count, i);
    store(hn::Mul(load(from + i, valid), scale), to + i, valid);
  }
}

/// 1 / (1 + exp(-x)). Arguments below -87 count as -87, where exp would leave float32's range.
HWY_INLINE FloatVector sigmoid(FloatVector x) {
  const FloatTag d;
  const FloatVector one = hn::Set(d, 1.0f);
  const FloatVector bounded = hn::Max(x, hn::Set(d, -87.0f));
  return hn::Div(one, hn::Add(one, hn::Exp(d, hn::Neg(bounded))));
}

// ---------------------------------------------------------------- random numbers

/// Columns whose random words a kernel draws together.
inline constexpr int kRandomColumns = 256;

/// words[i] = field.at(row, column + i) for kRandomColumns words; column is a multiple of 4.
HWY_INLINE void randomStretch(const RandomField& field, std::int64_t row, std::int64_t column,
                              std::uint32_t* words) {
  for (int i = 0; i < kRandomColumns; i += kRandomStep) {
    randomWords(field, static_cast<std::uint32_t>(row), static_cast<std::uint32_t>(column + i),
                words + i);
  }
}

/// value * scale where words >= threshold, 0 elsewhere.
HWY_INLINE FloatVector keepOrDrop(FloatVector value, const std::uint32_t* words,
                                  std::uint32_t threshold, float scale) {
  const FloatTag d;
  const hn::RebindToUnsigned<FloatTag> unsignedTag;
  const auto dropped = hn::Lt(hn::LoadU(unsignedTag, words), hn::Set(unsignedTag, threshold));
  return hn::IfThenZeroElse(hn::RebindMask(d, dropped), hn::Mul(value, hn::Set(d, scale)));
}

}  // namespace wgqa::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
