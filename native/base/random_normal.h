// Standard normal numbers at positions of a random field (Box & Muller 1958).
#pragma once

#include <cmath>
#include <numbers>

#include "base/philox.h"

namespace wgqa {

/// Column 2i of a row is the cosine, column 2i + 1 the sine member of the same pair of uniforms.
inline float normalAt(const RandomField& field, std::uint32_t row, std::uint32_t column) {
  const std::uint32_t first = column & ~1u;
  const double radius = std::sqrt(-2.0 * std::log(uniformFromBits(field.at(row, first))));
  const double angle = 2.0 * std::numbers::pi * uniformFromBits(field.at(row, first + 1));
  return static_cast<float>(radius * ((column & 1u) == 0 ? std::cos(angle) : std::sin(angle)));
}

}  // namespace wgqa
