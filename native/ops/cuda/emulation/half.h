// Conversions of 16-bit floating types for the emulation: base's, under the names of bits.
#pragma once

#include <cstdint>

#include "base/dtype.h"

namespace wgqa::cuda::emulation {

inline std::uint16_t bfloat16Bits(float x) { return toBFloat16(x).bits; }
inline std::uint16_t float16Bits(float x) { return toFloat16(x).bits; }
inline float fromBFloat16Bits(std::uint16_t bits) { return toFloat(BFloat16{bits}); }
inline float fromFloat16Bits(std::uint16_t bits) { return toFloat(Float16{bits}); }

}  // namespace wgqa::cuda::emulation
