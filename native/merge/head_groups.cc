#include "merge/head_groups.h"

#include "base/random_normal.h"

namespace wgqa {

std::vector<std::int32_t> neighbouringGroups(std::int64_t heads, std::int64_t kvHeads) {
  std::vector<std::int32_t> kvHeadOf(static_cast<std::size_t>(heads));
  for (std::int64_t head = 0; head < heads; ++head) {
    kvHeadOf[head] = static_cast<std::int32_t>(head * kvHeads / heads);
  }
  return kvHeadOf;
}

std::vector<HeadRange> headRanges(std::span<const std::int32_t> kvHeadOf) {
  std::vector<HeadRange> ranges;
  for (std::int64_t head = 0; head < std::ssize(kvHeadOf); ++head) {
    if (head == 0 || kvHeadOf[head] != kvHeadOf[head - 1]) ranges.push_back({head, head});
    ++ranges.back().end;
  }
  return ranges;
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

float meanMergeWeight(MergeConstraint constraint, std::int64_t heads, std::int64_t kvHeads) {
  if (constraint == MergeConstraint::softmax) return 0.0f;
  return static_cast<float>(kvHeads) / static_cast<float>(heads);
}

void fillRandomMergeWeight(std::span<float> weight, const RandomField& random) {
  for (std::size_t i = 0; i < weight.size(); ++i) {
    weight[i] = normalAt(random, 0, static_cast<std::uint32_t>(i));
  }
}

}  // namespace wgqa
