// How finely the kernels of this folder divide their work.
#pragma once

#include <algorithm>
#include <cstdint>

namespace wgqa::cpu {

/// A worker that watches for work begins within a few microseconds, one that sleeps after about 10.
/// Less work than this per thread runs inline: elements of elementwise work, 0.1 to 1 ns each, ...
inline constexpr std::int64_t kGrainElements = std::int64_t{1} << 14;

/// ... and multiplications of a matrix product, 0.02 to 0.1 ns each.
inline constexpr std::int64_t kGrainProducts = std::int64_t{1} << 18;

/// What that is in bytes of weights, which few rows wait for: 0.03 ns each from memory.
inline constexpr std::int64_t kGrainBytes = std::int64_t{1} << 18;

/// Pieces that a matrix product is worth dividing into.
constexpr std::int64_t productPieces(std::int64_t products, std::int64_t weightBytes) {
  return std::max(products / kGrainProducts, weightBytes / kGrainBytes);
}

/// kGrainElements in rows.
inline std::int64_t rowGrain(std::int64_t columns) {
  return std::max<std::int64_t>(1, kGrainElements / std::max<std::int64_t>(columns, 1));
}

constexpr std::int64_t divideUp(std::int64_t count, std::int64_t by) {
  return (count + by - 1) / by;
}

}  // namespace wgqa::cpu
