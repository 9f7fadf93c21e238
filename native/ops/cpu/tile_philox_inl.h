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
inline constexpr int kRandomStep = 4;
#else
/// Words come in multiples of this: four of each block, one block per 64-bit lane.
inline constexpr int kRandomStep =
    4 * static_cast<int>(hn::MaxLanes(hn::ScalableTag<std::uint64_t>()));
#endif

/// words[i] = field.at(row, column + i) for kRandomStep words; column is a multiple of 4.
HWY_INLINE void randomWords(const RandomField& field, std::uint32_t row, std::uint32_t column,
                            std::uint32_t* words) {
  const auto streamLow = static_cast<std::uint32_t>(field.stream);
  const auto streamHigh = static_cast<std::uint32_t>(field.stream >> 32);
#if HWY_TARGET == HWY_SCALAR
  const PhiloxBlock block = philox(field.seed, {column / 4, row, streamLow, streamHigh});
  for (int i = 0; i < kRandomStep; ++i) words[i] = block[i];
#else
  const hn::ScalableTag<std::uint64_t> d;
  const hn::Repartition<std::uint32_t, decltype(d)> d32;
  // A lane's low half holds a counter word. What gathers in the high half is never read: MulEven
  // multiplies low halves only.
  auto word0 = hn::Iota(d, column / 4);
  auto word1 = hn::Set(d, std::uint64_t{row});
  auto word2 = hn::Set(d, std::uint64_t{streamLow});
  auto word3 = hn::Set(d, std::uint64_t{streamHigh});
  const auto multiplier0 = hn::Set(d32, kPhiloxMultiplier0);
  const auto multiplier1 = hn::Set(d32, kPhiloxMultiplier1);
  auto key0 = static_cast<std::uint32_t>(field.seed);
  auto key1 = static_cast<std::uint32_t>(field.seed >> 32);
  for (int round = 0; round < kPhiloxRounds; ++round) {
    const auto product0 = hn::MulEven(multiplier0, hn::BitCast(d32, word0));
    const auto product1 = hn::MulEven(multiplier1, hn::BitCast(d32, word2));
    word0 = hn::Xor(hn::Xor(hn::ShiftRight<32>(product1), word1), hn::Set(d, std::uint64_t{key0}));
    word1 = product1;
    word2 = hn::Xor(hn::Xor(hn::ShiftRight<32>(product0), word3), hn::Set(d, std::uint64_t{key1}));
    word3 = product0;
    key0 += kPhiloxWeyl0;
    key1 += kPhiloxWeyl1;
  }
  const auto low = hn::Set(d, std::uint64_t{0xffffffffu});
  const auto first = hn::Or(hn::And(word0, low), hn::ShiftLeft<32>(word1));
  const auto second = hn::Or(hn::And(word2, low), hn::ShiftLeft<32>(word3));
  hn::StoreInterleaved2(first, second, d, reinterpret_cast<std::uint64_t*>(words));
#endif
}

}  // namespace wgqa::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
