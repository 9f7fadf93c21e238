#include "merge/head_groups.h"

#include <algorithm>

#include "base/random_normal.h"

namespace wgqa {

std::vector<std::int32_t> neighbouringGroups(std::int64_t heads, std::int64_t kvHeads) {
  std::vector<std::int32_t> kvHeadOf(static_cast<std::size_t>(heads));
  for (std::int64_t head = 0; head < heads; ++head) {
    kvHeadOf[head] = static_cast<std::int32_t>(head * kvHeads / heads);
  }
  return kvHeadOf;
}

std::vector<std::int64_t> mergeWeightShape(MergeGranularity granularity, std::int64_t heads,
                                           std::int64_t headDim, std::int64_t dModel) {
  switch (granularity) {
    case MergeGranularity::row:
      return {heads, 1, dModel};
    case MergeGranularity::column:
      return {heads, headDim, 1};
    case MergeGranularity::head:
      break;
  }
  return {heads, 1, 1};
}

void fillMergeWeight(std::span<float> weight, MergeInit init, float meanValue,
                     const RandomField& random) {
  if (init == MergeInit::mean) {
    std::fill(weight.begin(), weight.end(), meanValue);
    return;
  }
  for (std::size_t i = 0; i < weight.size(); ++i) {
    weight[i] = normalAt(random, 0, static_cast<std::uint32_t>(i));
  }
}

}  // namespace wgqa
