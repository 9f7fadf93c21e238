#include "ops/cuda/kernels/merge.h"

#include "ops/cuda/grids.h"
#include "ops/cuda/head_groups.h"
#include "ops/cuda/operations.h"

namespace wgqa::cuda {
namespace {

constexpr int kThreads = 128;
constexpr std::int64_t kColumnsPerBlock = 4 * kThreads;
constexpr std::int64_t kRowsPerSlice = 16;

// The weight's dimensions of one element are those that its granularity does not distinguish.
MergeWeightView weightView(const ConstTensorView& weight) {
  const auto stride = [&](int dimension) {
    return weight.shape[dimension] == 1 ? 0 : weight.strides[dimension];
  };
  return {weight.as<float>(), stride(0), stride(1), stride(2)};
}

MergeHeadsBackwardArguments argumentsOf(const MergeHeadsBackward& p, float* sums,
                                        Session& session) {
  return {.base = p.base.as<float>(),
          .weight = weightView(p.weight),
          .groupOf = session.table(p.kvHeadOf),
          .gradMerged = p.gradMerged.as<float>(),
          .gradBase = p.gradBase.as<float>(),
          .sums = sums,
          .sumRowStride = 0,
          .sumHeadStride = 0,
          .rows = p.base.shape[1],
          .columns = p.base.shape[2],
          .rowsPerSlice = kRowsPerSlice};
}

}  // namespace

void mergeHeads(const MergeHeads& p, Session& session) {
  const std::int64_t groups = p.merged.shape[0];
  const std::int64_t rows = p.base.shape[1];
  const std::int64_t columns = p.base.shape[2];
  const std::vector<std::int32_t> heads = groupHeads(p.kvHeadOf, groups);
  session.launch(kMergeHeads, {divideUp(columns, kColumnsPerBlock), rows, groups}, {kThreads},
                 {.base = p.base.as<float>(),
                  .weight = weightView(p.weight),
                  .groupHeads = session.table(std::span<const std::int32_t>(heads)),
                  .merged = p.merged.as<float>(),
                  .rows = rows,
                  .columns = columns});
}

void mergeHeadsBackward(const MergeHeadsBackward& p, Session& session) {
  const std::int64_t heads = p.base.shape[0];
  const std::int64_t rows = p.base.shape[1];
  const std::int64_t columns = p.base.shape[2];
  if (p.granularity == MergeGranularity::row) {
    const std::int64_t slices = divideUp(rows, kRowsPerSlice);
    auto* sums = session.scratch<float>(Session::Scratch::first, slices * heads * columns);
    session.launch(kMergeBackwardOverRows, {divideUp(columns, kColumnsPerBlock), slices, heads},
                   {kThreads}, argumentsOf(p, sums, session));
    return sumSlices(sums, slices, heads * columns, p.gradWeight.as<float>(), session);
  }
  auto* sums = session.scratch<float>(Session::Scratch::first, rows * heads);
  // One weight for all rows of a head: slices of heads. One for each row: a single slice.
  const bool sumsRows = p.granularity == MergeGranularity::head;
  MergeHeadsBackwardArguments arguments = argumentsOf(p, sums, session);
  arguments.sumRowStride = sumsRows ? heads : 1;
  arguments.sumHeadStride = sumsRows ? 1 : rows;
  session.launch(kMergeBackwardOverColumns, {rows, heads}, {kThreads, kReduceBytes}, arguments);
  sumSlices(sums, sumsRows ? rows : 1, sumsRows ? heads : heads * rows, p.gradWeight.as<float>(),
            session);
}

}  // namespace wgqa::cuda
