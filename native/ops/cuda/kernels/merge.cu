#include "ops/cuda/kernels/merge.h"

#include "ops/cuda/kernels/groups.h"
#include "ops/cuda/kernels/reduce.h"
#include "ops/cuda/kernels/registry.h"

namespace wgqa::cuda {
namespace {

WGQA_DEVICE std::int64_t firstColumn() {
  return 4 * (static_cast<std::int64_t>(blockX()) * blockThreads() + threadIndex());
}

WGQA_DEVICE int validAt(std::int64_t column, std::int64_t columns) {
  return columns - column < 4 ? static_cast<int>(columns - column) : 4;
}

WGQA_DEVICE FourFloats weightsAt(const MergeWeightView& weight, std::int64_t head, std::int64_t row,
                                 std::int64_t column, int valid) {
  const float* at = weight.data + head * weight.headStride + row * weight.rowStride;
  if (weight.columnStride != 0) return loadFour(at + column, valid);
  return {{at[0], at[0], at[0], at[0]}};
}

WGQA_KERNEL void WGQA_BOUNDS(128, 8) mergeHeads(MergeHeadsArguments p) {
  const std::int64_t column = firstColumn();
  if (column >= p.columns) return;
  const int valid = validAt(column, p.columns);
  const std::int64_t row = blockY();
  FourFloats sum{};
  for (int head = p.groupHeads[blockZ()]; head < p.groupHeads[blockZ() + 1]; ++head) {
    const FourFloats base = loadFour(p.base + (head * p.rows + row) * p.columns + column, valid);
    const FourFloats weight = weightsAt(p.weight, head, row, column, valid);
    WGQA_UNROLL
    for (int i = 0; i < 4; ++i) sum.values[i] += weight.values[i] * base.values[i];
  }
  storeFour(sum, p.merged + (blockZ() * p.rows + row) * p.columns + column, valid);
}

// Adds the gradient of four neighbours of the base; returns base * gradMerged of each.
WGQA_DEVICE FourFloats backwardAt(const MergeHeadsBackwardArguments& p, std::int64_t head,
                                  std::int64_t row, std::int64_t column) {
  const int valid = validAt(column, p.columns);
  const std::int64_t at = (head * p.rows + row) * p.columns + column;
  const FourFloats base = loadFour(p.base + at, valid);
  const FourFloats grad =
      loadFour(p.gradMerged + (p.groupOf[head] * p.rows + row) * p.columns + column, valid);
  if (p.gradBase != nullptr) {
    const FourFloats weight = weightsAt(p.weight, head, row, column, valid);
    FourFloats sum = loadFour(p.gradBase + at, valid);
    WGQA_UNROLL
    for (int i = 0; i < 4; ++i) sum.values[i] += weight.values[i] * grad.values[i];
    storeFour(sum, p.gradBase + at, valid);
  }
  FourFloats product;
  WGQA_UNROLL
  for (int i = 0; i < 4; ++i) product.values[i] = base.values[i] * grad.values[i];
  return product;
}

WGQA_KERNEL void WGQA_BOUNDS(128, 8) mergeBackwardOverColumns(MergeHeadsBackwardArguments p) {
  const std::int64_t row = blockX();
  const std::int64_t head = blockY();
  float sum = 0.0f;
  for (std::int64_t column = 4 * threadIndex(); column < p.columns; column += 4 * blockThreads()) {
    const FourFloats product = backwardAt(p, head, row, column);
    sum += (product.values[0] + product.values[1]) + (product.values[2] + product.values[3]);
  }
  sum = blockSum(sum, dynamicShared<float>());
  if (threadIndex() == 0) p.sums[row * p.sumRowStride + head * p.sumHeadStride] = sum;
}

WGQA_KERNEL void WGQA_BOUNDS(128, 8) mergeBackwardOverRows(MergeHeadsBackwardArguments p) {
  const std::int64_t column = firstColumn();
  if (column >= p.columns) return;
  const std::int64_t head = blockZ();
  const std::int64_t begin = blockY() * p.rowsPerSlice;
  const std::int64_t end = begin + p.rowsPerSlice < p.rows ? begin + p.rowsPerSlice : p.rows;
  FourFloats sum{};
  for (std::int64_t row = begin; row < end; ++row) {
    const FourFloats product = backwardAt(p, head, row, column);
    WGQA_UNROLL
    for (int i = 0; i < 4; ++i) sum.values[i] += product.values[i];
  }
  float* sums = p.sums + (static_cast<std::int64_t>(blockY()) * gridZ() + head) * p.columns;
  storeFour(sum, sums + column, validAt(column, p.columns));
}

}  // namespace

std::vector<KernelEntry> mergeKernels() {
  return {kernelEntry<mergeHeads>(kMergeHeads),
          kernelEntry<mergeBackwardOverColumns>(kMergeBackwardOverColumns),
          kernelEntry<mergeBackwardOverRows>(kMergeBackwardOverRows)};
}

}  // namespace wgqa::cuda
