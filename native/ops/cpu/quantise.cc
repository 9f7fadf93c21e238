#include "ops/cpu/quantise.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/quantise.cc"
#include "hwy/foreach_target.h"

#include "ops/cpu/simd_inl.h"

HWY_BEFORE_NAMESPACE();
namespace wgqa::cpu::HWY_NAMESPACE {

constexpr float kLargestInteger = 127.0f;

// The largest magnitude; NaN if there is one.
float largestMagnitude(const float* x, std::int64_t count) {
  const FloatTag d;
  const auto step = static_cast<std::int64_t>(hn::Lanes(d));
  auto largest = hn::Zero(d);
  auto invalid = hn::Zero(d);  // x - x: 0 unless x is infinite or NaN
  for (std::int64_t i = 0; i < count; i += step) {
    const auto value = load(x + i, lanesLeft(count, i));
    largest = hn::Max(largest, hn::Abs(value));
    invalid = hn::Add(invalid, hn::Sub(value, value));
  }
  return hn::GetLane(hn::MaxOfLanes(d, largest)) + sumOfLanes(invalid);
}

void quantise(const float* x, std::int64_t count, std::int8_t* integers, float& scale) {
  const FloatTag d;
  const hn::Rebind<std::int32_t, FloatTag> words;
  const hn::Rebind<std::int8_t, FloatTag> bytes;
  const auto step = static_cast<std::int64_t>(hn::Lanes(d));
  const float largest = largestMagnitude(x, count);
  scale = largest / kLargestInteger;
  const auto factor = hn::Set(d, largest > 0.0f ? kLargestInteger / largest : 0.0f);
  const auto bound = hn::Set(d, kLargestInteger);
  for (std::int64_t i = 0; i < count; i += step) {
    const std::size_t valid = lanesLeft(count, i);
    const auto scaled = hn::Mul(load(x + i, valid), factor);
    const auto bounded = hn::Max(hn::Min(scaled, bound), hn::Neg(bound));
    const auto rounded = hn::DemoteTo(bytes, hn::ConvertTo(words, hn::Round(bounded)));
    if (valid == static_cast<std::size_t>(step)) {
      hn::StoreU(rounded, bytes, integers + i);
    } else {
      VectorRoom<std::int8_t> room;
      hn::StoreU(rounded, bytes, room.lanes);
      std::copy_n(room.lanes, valid, integers + i);
    }
  }
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
