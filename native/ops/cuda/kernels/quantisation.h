// Numbers as 8-bit integers, symmetrically by the largest magnitude of those that share a scale.
#pragma once

#include "ops/cuda/kernels/execution.h"

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
};

}  // namespace wgqa::cuda
