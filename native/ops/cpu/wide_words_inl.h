// Words of a weight that any processor can multiply once they are widened: a float32 as it is, two
// bfloat16 as two float32, four bytes as two pairs of 16-bit integers. Included once per target.
#if defined(WGQA_OPS_CPU_WIDE_WORDS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef WGQA_OPS_CPU_WIDE_WORDS_INL_H_
#undef WGQA_OPS_CPU_WIDE_WORDS_INL_H_
#else
#define WGQA_OPS_CPU_WIDE_WORDS_INL_H_
#endif

#include <cstdint>

#include "hwy/highway.h"
#include "ops/cpu/tile_math_inl.h"
#include "ops/cpu/tile_matmul_inl.h"

HWY_BEFORE_NAMESPACE();
namespace wgqa::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using WordTag = hn::RebindToUnsigned<FloatTag>;
using WordVector = hn::Vec<WordTag>;

/// Keeps a sum in one register: GCC would move sums about, and some of them to the stack and back.
template <class Sum>
HWY_INLINE Sum inOneRegister(Sum sum) {
#if HWY_COMPILER_GCC_ACTUAL && HWY_ARCH_X86 && HWY_TARGET != HWY_SCALAR
  asm("" : "+v"(sum.raw));
#endif
  return sum;
}

/// Rows that a kernel multiplies at a time: with kVectors vectors of a block, as many as leave
/// every sum in a register.
inline constexpr int kRowTile = 6;

struct FloatWords {
  using Sum = FloatVector;
  static constexpr int kVectors = kVectorRegisters == 32 ? 4 : 2;
  static HWY_INLINE Sum zero() { return hn::Zero(FloatTag()); }
  static HWY_INLINE Sum plusProduct(Sum sum, WordVector x, WordVector weight) {
    const FloatTag d;
    return hn::MulAdd(hn::BitCast(d, x), hn::BitCast(d, weight), sum);
  }
  static HWY_INLINE void store(Sum sum, std::byte* to) {
    hn::StoreU(sum, FloatTag(), reinterpret_cast<float*>(to));
  }
  static HWY_INLINE void add(Sum sum, std::byte* to) {
    store(hn::Add(hn::LoadU(FloatTag(), reinterpret_cast<const float*>(to)), sum), to);
  }
};

struct OneFloat : FloatWords {
  static constexpr int kWideWords = 1;
  static HWY_INLINE WordVector widened(WordVector words, int) { return words; }
};

struct TwoBFloat16 : FloatWords {
  static constexpr int kWideWords = 2;
  static HWY_INLINE WordVector widened(WordVector words, int index) {
    return index == 0 ? hn::ShiftLeft<16>(words) : hn::And(words, hn::Set(WordTag(), 0xffff0000u));
  }
};

using IntegerTag = hn::RebindToSigned<FloatTag>;
using IntegerVector = hn::Vec<IntegerTag>;

#if HWY_TARGET == HWY_SCALAR

constexpr std::int32_t lowShort(std::uint32_t pair) { return static_cast<std::int16_t>(pair); }
constexpr std::int32_t highShort(std::uint32_t pair) {
  return static_cast<std::int16_t>(pair >> 16);
}

/// sum + the products of a word's two 16-bit integers.
HWY_INLINE IntegerVector plusPairs(IntegerVector sum, WordVector x, WordVector weight) {
  const std::uint32_t a = hn::GetLane(x);
  const std::uint32_t b = hn::GetLane(weight);
  return hn::Add(sum,
                 hn::Set(IntegerTag(), lowShort(a) * lowShort(b) + highShort(a) * highShort(b)));
}

/// Bytes 0 and 2 of each word (index 0), or 1 and 3, as 16-bit integers.
HWY_INLINE WordVector widenedBytes(WordVector words, int index) {
  const std::uint32_t bytes = hn::GetLane(words) >> (8 * index);
  const auto low = static_cast<std::uint16_t>(static_cast<std::int8_t>(bytes));
  const auto high = static_cast<std::uint16_t>(static_cast<std::int8_t>(bytes >> 16));
  return hn::Set(WordTag(), std::uint32_t{low} | std::uint32_t{high} << 16);
}

#else

using ShortTag = hn::Repartition<std::int16_t, WordTag>;

/// sum + the products of each word's two 16-bit integers.
HWY_INLINE IntegerVector plusPairs(IntegerVector sum, WordVector x, WordVector weight) {
  const IntegerTag d;
  const auto a = hn::BitCast(ShortTag(), x);
  const auto b = hn::BitCast(ShortTag(), weight);
  auto upper = hn::Zero(d);
#if HWY_TARGET == HWY_NEON
  // Products of the lower half of the vectors, and of the upper one: neighbours are to be added.
  const auto lower = hn::ReorderWidenMulAccumulate(d, a, b, hn::Zero(d), upper);
  return hn::Add(sum, hn::RearrangeToOddPlusEven(lower, upper));
#else
  return hn::ReorderWidenMulAccumulate(d, a, b, sum, upper);
#endif
}

/// Bytes 0 and 2 of each word (index 0), or 1 and 3, as 16-bit integers.
HWY_INLINE WordVector widenedBytes(WordVector words, int index) {
  auto shorts = hn::BitCast(ShortTag(), words);
  if (index == 0) shorts = hn::ShiftLeft<8>(shorts);
  return hn::BitCast(WordTag(), hn::ShiftRight<8>(shorts));
}

#endif

/// Four bytes. A product of two is at most 127 * 127, so that the sum of two fits 16 bits and every
/// sum of up to 2^17 of them 32: sums are exact.
struct FourBytes {
  using Sum = IntegerVector;
  static constexpr int kWideWords = 2;
  static constexpr int kVectors = kVectorRegisters == 32 ? 4 : 2;
  static HWY_INLINE Sum zero() { return hn::Zero(IntegerTag()); }
  static HWY_INLINE Sum plusProduct(Sum sum, WordVector x, WordVector weight) {
    return plusPairs(sum, x, weight);
  }
  static HWY_INLINE void store(Sum sum, std::byte* to) {
    hn::StoreU(sum, IntegerTag(), reinterpret_cast<std::int32_t*>(to));
  }
  static HWY_INLINE void add(Sum sum, std::byte* to) {
    store(hn::Add(hn::LoadU(IntegerTag(), reinterpret_cast<const std::int32_t*>(to)), sum), to);
  }
  static HWY_INLINE WordVector widened(WordVector words, int index) {
    return widenedBytes(words, index);
  }
};

}  // namespace wgqa::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
