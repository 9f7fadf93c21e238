#include "ops/cuda/kernels/merge.h"

#include "ops/cuda/alignment.h"
#include "ops/cuda/grids.h"
#include "ops/cuda/head_groups.h"
#include "ops/cuda/operations.h"

namespace wgqa::cuda {
namespace {

constexpr std::int64_t kForwardWarps = 8;

bool weighsColumns(MergeGranularity granularity) { return granularity == MergeGranularity::row; }

// A weight for all rows of a head has one row.
MergeWeightView weightView(const ConstTensorView& weight) {
  return {weight.as<float>(), weight.strides[0], weight.shape[1] == 1 ? 0 : weight.strides[1]};
}

// Ranges of heads for the backward pass. Those of one range share one reading of their group's
// gradient; where that leaves multiprocessors idle, groups are cut into more ranges.
std::vector<MergeHeadRange> headRanges(std::span<const std::int32_t> kvHeadOf, std::int64_t tiles,
                                       std::int64_t multiprocessors) {
  constexpr std::int64_t kBlocksPerMultiprocessor = 2;
  const std::int64_t work = tiles * std::ssize(kvHeadOf);
  const std::int64_t most =
      std::max<std::int64_t>(1, work / (kBlocksPerMultiprocessor * multiprocessors));
  std::vector<MergeHeadRange> ranges;
  for (std::int32_t head = 0; head < std::ssize(kvHeadOf); ++head) {
    const std::int32_t group = kvHeadOf[static_cast<std::size_t>(head)];
    const bool isJoined = !ranges.empty() && ranges.back().group == group &&
                          ranges.back().end - ranges.back().begin < most;
    if (!isJoined) ranges.push_back({head, head, group});
    ++ranges.back().end;
  }
  return ranges;
}

// Blocks of the backward pass over one head.
struct Tiles {
  std::int64_t warps;  // of a block
  std::int64_t x;
  std::int64_t y;
};

Tiles tilesOf(std::int64_t rows, std::int64_t columns) {
  const std::int64_t warps =
      std::clamp<std::int64_t>(divideUp(rows, kMergeHeldRows), 1, kMergeMostWarps);
  return {warps, divideUp(columns, kMergeColumns), divideUp(rows, kMergeHeldRows * warps)};
}

// Which kernel, and what its sums are; see merge.h.
struct BackwardPlan {
  Kernel<MergeHeadsBackwardArguments> kernel;
  std::int64_t slices;
  std::int64_t sharedBytes;
};

BackwardPlan backwardPlan(MergeGranularity granularity, const Tiles& tiles) {
  const auto warpBytes = static_cast<std::int64_t>(2 * tiles.warps * sizeof(float));
  switch (granularity) {
    case MergeGranularity::head:
      return {kMergeBackwardOverHead, tiles.x * tiles.y, warpBytes};
    case MergeGranularity::row:
      return {kMergeBackwardOverRows, tiles.y, warpBytes * kMergeColumns};
    case MergeGranularity::column:
      break;
  }
  return {kMergeBackwardOverColumns, tiles.x, 0};
}

}  // namespace

void mergeHeads(const MergeHeads& p, Session& session) {
  const std::int64_t groups = p.merged.shape[0];
  const std::int64_t rows = p.base.shape[1];
  const std::int64_t columns = p.base.shape[2];
  const bool byColumn = weighsColumns(p.granularity);
  const std::vector<std::int32_t> heads = groupHeads(p.kvHeadOf, groups);
  const std::int64_t warps = std::clamp<std::int64_t>(rows, 1, kForwardWarps);
  session.launch(byColumn ? kMergeHeadsByColumn : kMergeHeads,
                 {divideUp(columns, kMergeColumns), divideUp(rows, warps), groups},
                 {threadsOf(warps)},
                 {.base = p.base.as<float>(),
                  .weight = weightView(p.weight),
                  .groupHeads = session.table(std::span<const std::int32_t>(heads)),
                  .merged = p.merged.as<float>(),
                  .rows = rows,
                  .columns = columns,
                  .isAligned = haveAlignedRows(
                      columns, {p.base.data, p.merged.data, byColumn ? p.weight.data : nullptr})});
}

void mergeHeadsBackward(const MergeHeadsBackward& p, Session& session) {
  const std::int64_t rows = p.base.shape[1];
  const std::int64_t columns = p.base.shape[2];
  const Tiles tiles = tilesOf(rows, columns);
  const auto ranges = headRanges(p.kvHeadOf, tiles.x * tiles.y, session.multiprocessors());
  const BackwardPlan plan = backwardPlan(p.granularity, tiles);
  const std::int64_t sumCount = p.gradWeight.elements();
  auto* gradWeight = p.gradWeight.as<float>();
  float* sums = plan.slices == 1
                    ? gradWeight
                    : session.scratch<float>(Session::Scratch::first, plan.slices * sumCount);
  session.launch(plan.kernel, {tiles.x, tiles.y, std::ssize(ranges)},
                 {threadsOf(tiles.warps), plan.sharedBytes},
                 {.base = p.base.as<float>(),
                  .weight = weightView(p.weight),
                  .ranges = session.table(std::span<const MergeHeadRange>(ranges)),
                  .gradMerged = p.gradMerged.as<float>(),
                  .gradBase = p.gradBase.as<float>(),
                  .sums = sums,
                  .slices = plan.slices,
                  .sumCount = sumCount,
                  .rows = rows,
                  .columns = columns,
                  .isAligned = haveAlignedRows(
                      columns, {p.base.data, p.gradMerged.data, p.gradBase.data,
                                weighsColumns(p.granularity) ? p.weight.data : nullptr})});
  if (plan.slices > 1) sumSlices(sums, plan.slices, sumCount, gradWeight, session);
}

}  // namespace wgqa::cuda
