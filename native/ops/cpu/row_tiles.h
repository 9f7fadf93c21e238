// Rows in tiles for a kernel that holds the sums of a few of them in registers.
#pragma once

#include <cstdint>

namespace wgqa::cpu {

/// Calls visit.operator()<n>(firstRow) for tiles of n <= kMost rows, all of nearly one size: a
/// short one costs as many loads of the weight as a full one.
template <int kMost, typename Visit>
void forRowTiles(std::int64_t rows, const Visit& visit) {
  const auto visitTile = [&]<int kRows>(const auto& self, std::int64_t begin, std::int64_t count) {
    if constexpr (kRows == 1) {
      visit.template operator()<1>(begin);
    } else if (count == kRows) {
      visit.template operator()<kRows>(begin);
    } else {
      self.template operator()<kRows - 1>(self, begin, count);
    }
  };
  const std::int64_t tiles = (rows + kMost - 1) / kMost;
  for (std::int64_t tile = 0; tile < tiles; ++tile) {
    const std::int64_t begin = rows * tile / tiles;
    visitTile.template operator()<kMost>(visitTile, begin, rows * (tile + 1) / tiles - begin);
  }
}

}  // namespace wgqa::cpu
