// Philox random words, a vector of blocks at a time, and dropout with them: the same words as
// RandomField::at. Included once per Highway target.
#if defined(WGQA_OPS_CPU_TILE_PHILOX_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef WGQA_OPS_CPU_TILE_PHILOX_INL_H_
#undef WGQA_OPS_CPU_TILE_PHILOX_INL_H_
#else
#define WGQA_OPS_CPU_TILE_PHILOX_INL_H_
#endif

#include <cstdint>

#include "base/philox.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace wgqa::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET == HWY_SCALAR

/// Words come in multiples of this.
inline constexpr int kRandomStep = 4;

/// words[i] = field.at(row, column + i) for kRandomStep words; column is a multiple of 4.
HWY_INLINE void randomWords(const RandomField& field, std::uint32_t row, std::uint32_t column,
                            std::uint32_t* words) {
  const PhiloxBlock block =
      philox(field.seed, {column / 4, row, static_cast<std::uint32_t>(field.stream),
                          static_cast<std::uint32_t>(field.stream >> 32)});
  for (int i = 0; i < kRandomStep; ++i) words[i] = block[i];
}

#else

using WordTag = hn::ScalableTag<std::uint64_t>;
using WordVector = hn::Vec<WordTag>;

/// One block per 64-bit lane, whose low half holds a counter word. What gathers in the high half is
/// never read: MulEven multiplies low halves only.
struct PhiloxBlocks {
  WordVector word0;
  WordVector word1;
  WordVector word2;
  WordVector word3;

  HWY_INLINE void round(WordVector key0, WordVector key1) {
    const hn::Repartition<std::uint32_t, WordTag> d32;
    const auto product0 = hn::MulEven(hn::Set(d32, kPhiloxMultiplier0), hn::BitCast(d32, word0));
    const auto product1 = hn::MulEven(hn::Set(d32, kPhiloxMultiplier1), hn::BitCast(d32, word2));
    word0 = hn::Xor3(hn::ShiftRight<32>(product1), word1, key0);
    word1 = product1;
    word2 = hn::Xor3(hn::ShiftRight<32>(product0), word3, key1);
    word3 = product0;
  }

  HWY_INLINE void store(std::uint32_t* words) const {
    const WordTag d;
    const auto low = hn::Set(d, std::uint64_t{0xffffffffu});
    hn::StoreInterleaved2(hn::Or(hn::And(word0, low), hn::ShiftLeft<32>(word1)),
                          hn::Or(hn::And(word2, low), hn::ShiftLeft<32>(word3)), d,
                          reinterpret_cast<std::uint64_t*>(words));
  }
};

inline constexpr int kWordLanes = static_cast<int>(hn::MaxLanes(WordTag()));

/// Words come in multiples of this: two vectors of blocks, which keep the multiplier busy together.
inline constexpr int kRandomStep = 2 * 4 * kWordLanes;

/// words[i] = field.at(row, column + i) for kRandomStep words; column is a multiple of 4.
HWY_INLINE void randomWords(const RandomField& field, std::uint32_t row, std::uint32_t column,
                            std::uint32_t* words) {
  const WordTag d;
  const auto streamLow = hn::Set(d, field.stream & 0xffffffffu);
  const auto streamHigh = hn::Set(d, field.stream >> 32);
  const auto row64 = hn::Set(d, std::uint64_t{row});
  PhiloxBlocks first{hn::Iota(d, column / 4), row64, streamLow, streamHigh};
  PhiloxBlocks second{hn::Iota(d, column / 4 + kWordLanes), row64, streamLow, streamHigh};
  auto key0 = hn::Set(d, field.seed & 0xffffffffu);
  auto key1 = hn::Set(d, field.seed >> 32);
  for (int round = 0; round < kPhiloxRounds; ++round) {
    first.round(key0, key1);
    second.round(key0, key1);
    key0 = hn::Add(key0, hn::Set(d, std::uint64_t{kPhiloxWeyl0}));
    key1 = hn::Add(key1, hn::Set(d, std::uint64_t{kPhiloxWeyl1}));
  }
  first.store(words);
  second.store(words + kRandomStep / 2);
}

#endif

}  // namespace wgqa::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
