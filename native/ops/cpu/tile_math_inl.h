// Vector building blocks of the attention kernels: exponential, packing, conversion.
// Included once per Highway target.
#if defined(WGQA_OPS_CPU_TILE_MATH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef WGQA_OPS_CPU_TILE_MATH_INL_H_
#undef WGQA_OPS_CPU_TILE_MATH_INL_H_
#else
#define WGQA_OPS_CPU_TILE_MATH_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "base/dtype.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace wgqa::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::ScalableTag<float>;
using FloatVector = hn::Vec<FloatTag>;
inline constexpr int kLanes = static_cast<int>(hn::MaxLanes(FloatTag()));

constexpr int roundUpToLanes(std::int64_t count) {
  return static_cast<int>((count + kLanes - 1) / kLanes * kLanes);
}

/// exp(x) for x <= 80 to about 1 ulp, 0 below -87.3 (where results would be denormal); NaN stays.
/// Cephes' expf: x = n ln 2 + r, a polynomial in r, and n added to the exponent.
HWY_INLINE FloatVector expOfScore(FloatVector x) {
  const FloatTag d;
  const hn::RebindToSigned<FloatTag> di;
  // Adding 1.5 * 2^23 rounds to an integer, which is then in the low bits.
  const auto magic = hn::Set(d, 12582912.0f);
  const auto shifted = hn::MulAdd(x, hn::Set(d, 1.44269504f), magic);
  const auto n = hn::Sub(shifted, magic);
  auto r = hn::NegMulAdd(n, hn::Set(d, 0.693359375f), x);
  r = hn::NegMulAdd(n, hn::Set(d, -2.12194440e-4f), r);
  auto y = hn::MulAdd(r, hn::Set(d, 1.9875691500e-4f), hn::Set(d, 1.3981999507e-3f));
  y = hn::MulAdd(y, r, hn::Set(d, 8.3334519073e-3f));
  y = hn::MulAdd(y, r, hn::Set(d, 4.1665795894e-2f));
  y = hn::MulAdd(y, r, hn::Set(d, 1.6666665459e-1f));
  y = hn::MulAdd(y, r, hn::Set(d, 5.0000001201e-1f));
  y = hn::MulAdd(hn::Mul(y, r), r, hn::Add(r, hn::Set(d, 1.0f)));
  const auto exponent = hn::ShiftLeft<23>(hn::BitCast(di, shifted));
  const auto scaled = hn::BitCast(d, hn::Add(hn::BitCast(di, y), exponent));
  return hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, -87.3f)), scaled);
}

/// Rounds to bfloat16, nearest even; NaN stays NaN. Lane i of the result is in the low half.
HWY_INLINE hn::Vec<hn::RebindToUnsigned<FloatTag>> roundToBFloat16(FloatVector x) {
  const hn::RebindToUnsigned<FloatTag> du;
  const auto bits = hn::BitCast(du, x);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1u));
  const auto rounded = hn::Add(bits, hn::Add(odd, hn::Set(du, 0x7fffu)));
  const auto quiet = hn::Or(bits, hn::Set(du, 0x400000u));
  const auto nan = hn::RebindMask(du, hn::IsNaN(x));
  return hn::ShiftRight<16>(hn::IfThenElse(nan, quiet, rounded));
}

/// A whole vector of elements as floats.
HWY_INLINE FloatVector widened(const float* from) { return hn::LoadU(FloatTag(), from); }

HWY_INLINE FloatVector widened(const BFloat16* from) {
  const FloatTag d;
  const hn::Rebind<std::uint16_t, FloatTag> halves;
  const hn::RebindToUnsigned<FloatTag> words;
  const auto bits = hn::LoadU(halves, reinterpret_cast<const std::uint16_t*>(from));
  return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(words, bits)));
}

HWY_INLINE FloatVector widened(const std::int8_t* from) {
  const FloatTag d;
  const hn::Rebind<std::int8_t, FloatTag> bytes;
  const hn::RebindToSigned<FloatTag> words;
  return hn::ConvertTo(d, hn::PromoteTo(words, hn::LoadU(bytes, from)));
}

inline void copyRow(const float* HWY_RESTRICT from, int count, float* HWY_RESTRICT to) {
  const FloatTag d;
  int i = 0;
  for (; i + kLanes <= count; i += kLanes) hn::StoreU(hn::LoadU(d, from + i), d, to + i);
  for (; i < count; ++i) to[i] = from[i];
}

inline void copyRow(const BFloat16* HWY_RESTRICT from, int count, float* HWY_RESTRICT to) {
  int i = 0;
  for (; i + kLanes <= count; i += kLanes) hn::StoreU(widened(from + i), FloatTag(), to + i);
  for (; i < count; ++i) to[i] = toFloat(from[i]);
}

inline void copyRow(const std::int8_t* HWY_RESTRICT from, int count, float* HWY_RESTRICT to) {
  int i = 0;
  for (; i + kLanes <= count; i += kLanes) hn::StoreU(widened(from + i), FloatTag(), to + i);
  for (; i < count; ++i) to[i] = from[i];
}

inline void copyRow(const float* HWY_RESTRICT from, int count, BFloat16* HWY_RESTRICT to) {
  const FloatTag d;
  const hn::Rebind<std::uint16_t, FloatTag> d16;
  int i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const auto half = hn::TruncateTo(d16, roundToBFloat16(hn::LoadU(d, from + i)));
    hn::StoreU(half, d16, reinterpret_cast<std::uint16_t*>(to) + i);
  }
  for (; i < count; ++i) to[i] = toBFloat16(from[i]);
}

/// Copies rows of `columns` elements; rows of `to` are padded with zeros to whole vectors.
template <typename T>
void packRows(const T* from, std::ptrdiff_t fromStride, int rows, int columns, float* to,
              std::ptrdiff_t toStride) {
  const int padded = roundUpToLanes(columns);
  for (int row = 0; row < rows; ++row) {
    copyRow(from, columns, to);
    std::fill(to + columns, to + padded, 0.0f);
    from += fromStride;
    to += toStride;
  }
}

inline void scaleRow(float* row, int padded, float factor) {
  const FloatTag d;
  const auto f = hn::Set(d, factor);
  for (int i = 0; i < padded; i += kLanes)
    hn::StoreU(hn::Mul(hn::LoadU(d, row + i), f), d, row + i);
}

/// The dot product of two rows padded with zeros.
inline float dotRows(const float* a, const float* b, int padded) {
  const FloatTag d;
  auto sum = hn::Zero(d);
  for (int i = 0; i < padded; i += kLanes) {
    sum = hn::MulAdd(hn::LoadU(d, a + i), hn::LoadU(d, b + i), sum);
  }
  return hn::GetLane(hn::SumOfLanes(d, sum));
}

#if HWY_TARGET != HWY_SCALAR
/// Transposes four rows of four floats.
HWY_INLINE void transposeFour(const float* from, std::ptrdiff_t fromStride, float* to,
                              std::ptrdiff_t toStride) {
  const hn::FixedTag<float, 4> d;
  const hn::FixedTag<std::uint64_t, 2> pairs;
  const auto row0 = hn::LoadU(d, from);
  const auto row1 = hn::LoadU(d, from + fromStride);
  const auto row2 = hn::LoadU(d, from + 2 * fromStride);
  const auto row3 = hn::LoadU(d, from + 3 * fromStride);
  const auto low01 = hn::BitCast(pairs, hn::InterleaveLower(d, row0, row1));
  const auto low23 = hn::BitCast(pairs, hn::InterleaveLower(d, row2, row3));
  const auto high01 = hn::BitCast(pairs, hn::InterleaveUpper(d, row0, row1));
  const auto high23 = hn::BitCast(pairs, hn::InterleaveUpper(d, row2, row3));
  hn::StoreU(hn::BitCast(d, hn::InterleaveLower(pairs, low01, low23)), d, to);
  hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(pairs, low01, low23)), d, to + toStride);
  hn::StoreU(hn::BitCast(d, hn::InterleaveLower(pairs, high01, high23)), d, to + 2 * toStride);
  hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(pairs, high01, high23)), d, to + 3 * toStride);
}
#endif

/// to[column][row] = from[row][column]; rows of `to` are padded with zeros to whole vectors.
inline void packTransposed(const float* from, std::ptrdiff_t fromStride, int rows, int columns,
                           float* to, std::ptrdiff_t toStride) {
  int doneRows = 0;
  int doneColumns = 0;
#if HWY_TARGET != HWY_SCALAR
  doneRows = rows / 4 * 4;
  doneColumns = columns / 4 * 4;
  for (int row = 0; row < doneRows; row += 4) {
    for (int column = 0; column < doneColumns; column += 4) {
      transposeFour(from + row * fromStride + column, fromStride, to + column * toStride + row,
                    toStride);
    }
  }
#endif
  const int padded = roundUpToLanes(rows);
  for (int column = 0; column < columns; ++column) {
    float* line = to + column * toStride;
    for (int row = column < doneColumns ? doneRows : 0; row < rows; ++row) {
      line[row] = from[row * fromStride + column];
    }
    std::fill(line + rows, line + padded, 0.0f);
  }
}

}  // namespace wgqa::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
