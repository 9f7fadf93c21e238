#include "ops/cuda/kernels/norm.h"

#include <bit>

#include "ops/cuda/alignment.h"
#include "ops/cuda/grids.h"
#include "ops/cuda/kernel_types.h"
#include "ops/cuda/kernels/warp_columns.h"
#include "ops/cuda/operations.h"

namespace wgqa::cuda {
namespace {

// Rows of a warp each several to a block, once there is one for each multiprocessor; wider ones,
// which a warp cannot hold, a block each.
struct ForwardPlan {
  std::int64_t rowWarps;
  std::int64_t rowsOfBlock;
};

ForwardPlan forwardPlan(std::int64_t rows, std::int64_t columns, std::int64_t multiprocessors) {
  constexpr std::int64_t kMostRows = 4;
  constexpr std::int64_t kWideRowWarps = 8;
  if (columns > kNormHeldGroups * kWarpColumns) return {kWideRowWarps, 1};
  return {1, std::clamp<std::int64_t>(rows / multiprocessors, 1, kMostRows)};
}

// Which rows a block has, as the problem says and not the device: their order is that of the sums.
struct BackwardPlan {
  Kernel<RmsNormBackwardArguments> kernel;
  std::int64_t warps;
  std::int64_t rowsPerSlice;
  std::int64_t slices;
};

BackwardPlan backwardPlan(std::int64_t rows, std::int64_t columns, bool isAligned) {
  constexpr std::int64_t kMostSlices = 512;
  constexpr std::int64_t kFewestRows = 8;  // of a slice
  const std::int64_t warps =
      std::min<std::int64_t>(divideUp(columns, kWarpColumns), kNormMostWarps);
  const bool isNarrow = columns <= kNormNarrowTile.groups * kNormMostWarps * kWarpColumns;
  const std::int64_t rowsPerSlice = std::max(divideUp(rows, kMostSlices), kFewestRows);
  return {isAligned && isNarrow ? kRmsNormBackwardNarrow : kRmsNormBackwardWide[isAligned], warps,
          rowsPerSlice, divideUp(rows, rowsPerSlice)};
}

// Warps that share neighbouring sums: more for more slices.
std::int64_t sumParts(std::int64_t slices) {
  constexpr std::int64_t kSlicesAtOnce = 8;
  const auto most = static_cast<std::uint64_t>(divideUp(slices, kSlicesAtOnce));
  return std::clamp<std::int64_t>(static_cast<std::int64_t>(std::bit_floor(most)), 1,
                                  kSumSlicesWarps);
}

}  // namespace

void rmsNorm(const RmsNorm& p, Session& session) {
  const std::int64_t rows = p.x.shape[0];
  const std::int64_t columns = p.x.shape[1];
  const auto& kernels = kRmsNorm[floatIndex(p.out.dtype)];
  const ForwardPlan plan = forwardPlan(rows, columns, session.multiprocessors());
  session.launch(kernels[haveAlignedRows(columns, {p.x.data, p.weight.data, p.out.data})],
                 {divideUp(rows, plan.rowsOfBlock)},
                 {threadsOf(plan.rowWarps * plan.rowsOfBlock), kReduceBytes},
                 {.x = p.x.as<float>(),
                  .weight = p.weight.as<float>(),
                  .out = p.out.data,
                  .inverseRms = p.inverseRms.as<float>(),
                  .rows = rows,
                  .columns = static_cast<std::int32_t>(columns),
                  .epsilon = p.epsilon,
                  .rowWarps = static_cast<std::int32_t>(plan.rowWarps)});
}

void rmsNormBackward(const RmsNormBackward& p, Session& session) {
  const std::int64_t rows = p.x.shape[0];
  const std::int64_t columns = p.x.shape[1];
  const BackwardPlan plan = backwardPlan(
      rows, columns,
      haveAlignedRows(columns, {p.x.data, p.weight.data, p.gradOut.data, p.gradX.data}));
  auto* partial = session.scratch<float>(Session::Scratch::first, plan.slices * columns);
  session.launch(plan.kernel, {plan.slices}, {threadsOf(plan.warps), kNormBackwardBytes},
                 {.x = p.x.as<float>(),
                  .weight = p.weight.as<float>(),
                  .inverseRms = p.inverseRms.as<float>(),
                  .gradOut = p.gradOut.as<float>(),
                  .gradX = p.gradX.as<float>(),
                  .partial = partial,
                  .rows = rows,
                  .rowsPerSlice = plan.rowsPerSlice,
                  .columns = static_cast<std::int32_t>(columns)});
  sumSlices(partial, plan.slices, columns, p.gradWeight.as<float>(), session);
}

void sumSlices(const float* partial, std::int64_t slices, std::int64_t count, float* out,
               Session& session) {
  const std::int64_t parts = sumParts(slices);
  const std::int64_t groupsOfBlock = kSumSlicesWarps / parts;
  session.launch(kSumSlices, {divideUp(count, groupsOfBlock * kWarpThreadCount)},
                 {threadsOf(kSumSlicesWarps), kSumSlicesBytes},
                 {.partial = partial,
                  .out = out,
                  .slices = slices,
                  .count = count,
                  .slicesPerPart = static_cast<std::int32_t>(divideUp(slices, parts)),
                  .parts = static_cast<std::int32_t>(parts)});
}

}  // namespace wgqa::cuda
