// Random numbers of decoding: a draw depends on the request's seed and on which draw it is, never
// on what else is in the batch.
#pragma once

#include <cstdint>

#include "base/philox.h"

namespace wgqa {

// Streams of a request's seed; beam sampling takes one per position from kBeamStream on.
inline constexpr std::uint64_t kSampleStream = 0;
inline constexpr std::uint64_t kBeamStream = std::uint64_t{1} << 32;

/// A uniform number in [0, 1) with 53 random bits, for one token of one sample.
inline double sampleUniform(std::uint64_t seed, std::uint32_t sample, std::uint32_t position) {
  const RandomField random{seed, kSampleStream};
  const std::uint64_t high = random.at(sample, 2 * position) >> 5;
  const std::uint64_t low = random.at(sample, 2 * position + 1) >> 6;
  return static_cast<double>((high << 26) | low) * 0x1.0p-53;
}

}  // namespace wgqa
