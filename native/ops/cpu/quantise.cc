#include "ops/cpu/quantise.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/quantise.cc"
#include "hwy/foreach_target.h"

#include "ops/cpu/simd_inl.h"

HWY_BEFORE_NAMESPACE();
namespace wgqa::cpu::HWY_NAMESPACE {

constexpr float kLargestInteger = 127.0f;

// Vectors at a time, so that no maximum waits for the one before.
constexpr int kChains = 4;

/// Largest magnitudes so far, and whether every value is finite: x - x is 0 unless x is infinite or
/// NaN.
struct Magnitudes {
  FloatVector largest, invalid;
  HWY_INLINE void add(FloatVector value) {
    largest = hn::Max(largest, hn::Abs(value));
    invalid = hn::Add(invalid, hn::Sub(value, value));
  }
  HWY_INLINE void add(const Magnitudes& other) {
    largest = hn::Max(largest, other.largest);
    invalid = hn::Add(invalid, other.invalid);
  }
};

// The largest magnitude; NaN if there is a value that is not finite.
float largestMagnitude(const float* x, std::int64_t count) {
  const FloatTag d;
  const auto step = static_cast<std::int64_t>(hn::Lanes(d));
  Magnitudes chains[kChains];
  for (Magnitudes& chain : chains) chain = {hn::Zero(d), hn::Zero(d)};
  std::int64_t i = 0;
  for (; i + kChains * step <= count; i += kChains * step) {
    HWY_UNROLL(4)
    for (int chain = 0; chain < kChains; ++chain) {
      chains[chain].add(hn::LoadU(d, x + i + chain * step));
    }
  }
  for (; i < count; i += step) chains[0].add(load(x + i, lanesLeft(count, i)));
  for (int chain = 1; chain < kChains; ++chain) chains[0].add(chains[chain]);
  return hn::GetLane(hn::MaxOfLanes(d, chains[0].largest)) + sumOfLanes(chains[0].invalid);
}

void quantise(const float* x, std::int64_t count, std::int8_t* integers, float& scale) {
  const FloatTag d;
  const hn::Rebind<std::int8_t, FloatTag> bytes;
  const float largest = largestMagnitude(x, count);
  scale = largest / kLargestInteger;
  // No value leaves the range: at most 127 and two roundings, which round to 127.
  const auto factor = hn::Set(d, largest > 0.0f ? kLargestInteger / largest : 0.0f);
  forVectors(count, [&](std::int64_t i, std::size_t valid) HWY_ATTR {
    const auto scaled = hn::Mul(load(x + i, valid), factor);
    const auto rounded = hn::DemoteTo(bytes, hn::NearestInt(scaled));
    if (valid == hn::Lanes(d)) {
      hn::StoreU(rounded, bytes, integers + i);
    } else {
      VectorRoom<std::int8_t> room;
      hn::StoreU(rounded, bytes, room.lanes);
      std::copy_n(room.lanes, valid, integers + i);
    }
  });
}

}  // namespace wgqa::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wgqa::cpu {

HWY_EXPORT(quantise);

void quantiseRow(const float* x, std::int64_t count, std::int8_t* integers, float& scale) {
  HWY_DYNAMIC_DISPATCH(quantise)(x, count, integers, scale);
}

}  // namespace wgqa::cpu
#endif
