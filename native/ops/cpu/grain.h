// How finely the kernels of this folder divide their work.
#pragma once

#include <algorithm>
#include <cstdint>

namespace wgqa::cpu {

/// Elements that take about as long as waking a second thread: less work than this runs inline.
inline constexpr std::int64_t kGrainElements = 16384;

/// The same in rows.
inline std::int64_t rowGrain(std::int64_t columns) {
  return std::max<std::int64_t>(1, kGrainElements / std::max<std::int64_t>(columns, 1));
}

constexpr std::int64_t divideUp(std::int64_t count, std::int64_t by) {
  return (count + by - 1) / by;
}

}  // namespace wgqa::cpu
