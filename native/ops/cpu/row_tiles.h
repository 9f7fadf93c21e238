// Rows in tiles for a kernel that holds the sums of a few of them in registers.
#pragma once

#include <cstdint>

#include "hwy/base.h"
#include "ops/cpu/grain.h"

namespace wgqa::cpu {

/// Calls visit.operator()<n>(firstRow) for n = rows, at most kMost.
template <int kMost, typename Visit>
HWY_INLINE void forRowCount(std::int64_t rows, std::int64_t firstRow, const Visit& visit) {
  if constexpr (kMost == 1) {
    visit.template operator()<1>(firstRow);
  } else if (rows == kMost) {
    visit.template operator()<kMost>(firstRow);
  } else {
    forRowCount<kMost - 1>(rows, firstRow, visit);
  }
}

/// Calls visit.operator()<n>(firstRow) for tiles of n <= kMost rows, all of nearly one size: a
/// short one costs as many loads of the weight as a full one.
template <int kMost, typename Visit>
HWY_INLINE void forRowTiles(std::int64_t rows, const Visit& visit) {
  const std::int64_t tiles = divideUp(rows, kMost);
  for (std::int64_t tile = 0; tile < tiles; ++tile) {
    const std::int64_t begin = rows * tile / tiles;
    forRowCount<kMost>(rows * (tile + 1) / tiles - begin, begin, visit);
  }
}

}  // namespace wgqa::cpu
