// Which query heads share a K/V head, and the learned weights that sum the heads of a group
// (arXiv 2407.10855, Section 3).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/philox.h"
#include "ops/ops.h"

namespace wgqa {

/// Which heads of a module share a K/V head.
enum class HeadGrouping : std::uint8_t { neighbouring, similarity };
/// What is done to heads before they are merged.
enum class HeadAlignment : std::uint8_t { none, orthogonal };

/// Starting values of merge weights.
enum class MergeInit : std::uint8_t {
  mean,          // mean pooling
  random,        // standard normal draws: the paper's RAND rows
  leastSquares,  // least_squares.h
};

/// [heads]: neighbouring heads share, kvHeadOf[h] = h * kvHeads / heads. kvHeads divides heads.
std::vector<std::int32_t> neighbouringGroups(std::int64_t heads, std::int64_t kvHeads);

/// Heads [begin, end) that share a K/V head.
struct HeadRange {
  std::int64_t begin;
  std::int64_t end;
};

/// The groups of `kvHeadOf` [heads], ascending.
std::vector<HeadRange> headRanges(std::span<const std::int32_t> kvHeadOf);

/// Shape of the merge weight of one projection.
std::vector<std::int64_t> mergeWeightShape(MergeGranularity granularity, std::int64_t heads,
                                           std::int64_t headDim, std::int64_t dModel);

/// What a merge weight's parameter is where the merge is the mean of equal groups.
float meanMergeWeight(MergeConstraint constraint, std::int64_t heads, std::int64_t kvHeads);

/// Fills one merge weight with standard normal draws.
void fillRandomMergeWeight(std::span<float> weight, const RandomField& random);

}  // namespace wgqa
