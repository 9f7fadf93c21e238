// Numbers as 8-bit integers, or in float16, by the largest magnitude of those that share a scale.
#pragma once

#include "ops/cuda/kernels/elements.h"

namespace wgqa::cuda {

inline constexpr float kLargestInteger = 127.0f;

/// In float32 arithmetic, as quantised operations are defined. NaN as `largest` gives zeros with a
/// scale of NaN.
struct Quantiser {
  float scale;
  float factor;

  WGQA_DEVICE explicit Quantiser(float largest)
      : scale(largest / kLargestInteger),
        factor(largest > 0.0f ? kLargestInteger / largest : 0.0f) {}

  /// A whole number; within bounds where `factor` overflowed, too.
  WGQA_DEVICE float integer(float value) const {
    if (factor == 0.0f) return 0.0f;
    return rintf(fminf(fmaxf(value * factor, -kLargestInteger), kLargestInteger));
  }
  WGQA_DEVICE void store(float value, std::int8_t& to) const {
    to = static_cast<std::int8_t>(integer(value));
  }
};

/// The power of two that brings the largest magnitude to [2^14, 2^15): below the end of float16,
/// and as far from its smallest numbers as can be. NaN as `largest` gives a scale of NaN.
struct Float16Scaler {
  float scale;
  float factor;  // 1 / scale

  WGQA_DEVICE explicit Float16Scaler(float largest) {
    constexpr int kBias = 127;
    constexpr int kTarget = 14;
    constexpr int kLeast = -100;  // below, the factor would leave the range of float32
    const int exponent = static_cast<int>(floatBits(largest) >> 23 & 0xff) - kBias;
    const int shift = kTarget - (exponent < kLeast ? kLeast : exponent);
    factor = powerOfTwo(shift);
    scale = largest == largest ? powerOfTwo(-shift) : largest;
  }

  WGQA_DEVICE void store(float value, Float16Element& to) const { round(value * factor, to); }

 private:
  WGQA_DEVICE static float powerOfTwo(int exponent) {
    return floatFromBits(static_cast<std::uint32_t>(exponent + 127) << 23);
  }
};

}  // namespace wgqa::cuda
