// Which query heads belong to a K/V head, as kernels read it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace wgqa::cuda {

/// [groups + 1]: the first head of each group; groups are runs of the ascending map.
inline std::vector<std::int32_t> groupHeads(std::span<const std::int32_t> kvHeadOf,
                                            std::int64_t groups) {
  std::vector<std::int32_t> first(static_cast<std::size_t>(groups) + 1, 0);
  for (const std::int32_t group : kvHeadOf) ++first[static_cast<std::size_t>(group) + 1];
  for (std::size_t i = 1; i < first.size(); ++i) first[i] += first[i - 1];
  return first;
}

}  // namespace wgqa::cuda
