#include "ops/cuda/kernels/merge.h"

#include "ops/cuda/kernels/reduce.h"
#include "ops/cuda/kernels/registry.h"
#include "ops/cuda/kernels/warp_columns.h"

namespace wgqa::cuda {
namespace {

static_assert(kMergeColumns == kWarpColumns);

WGQA_DEVICE std::int64_t firstColumn() {
  return static_cast<std::int64_t>(blockX()) * kWarpColumns;
}

WGQA_DEVICE FourFloats repeated(float value) { return {{value, value, value, value}}; }

WGQA_DEVICE void multiplyAdd(const FourFloats& a, const FourFloats& b, FourFloats& sum) {
  WGQA_UNROLL
  for (int i = 0; i < 4; ++i) sum.values[i] += a.values[i] * b.values[i];
}

WGQA_DEVICE float sumOf(const FourFloats& x) {
  return (x.values[0] + x.values[1]) + (x.values[2] + x.values[3]);
}

// ---------------------------------------------------------------------------- forward

template <bool kAligned, bool kByColumn>
WGQA_DEVICE void mergeRow(const MergeHeadsArguments& p, std::int64_t row) {
  const std::int64_t column = firstColumn();
  const int count = warpColumnsAt(column, p.columns);
  const float* base = p.base + row * p.columns + column;
  const float* weight = p.weight.data + row * p.weight.rowStride + (kByColumn ? column : 0);
  const int end = p.groupHeads[blockZ() + 1];
  FourFloats sum{};
  [[maybe_unused]] constexpr int kInFlight = kAligned ? 4 : 1;
  WGQA_UNROLL_BY(kInFlight)
  for (std::int64_t head = p.groupHeads[blockZ()]; head < end; ++head) {
    const FourFloats values = loadColumns<kAligned>(base + head * p.rows * p.columns, count);
    const float* at = weight + head * p.weight.headStride;
    multiplyAdd(values, kByColumn ? loadColumns<kAligned>(at, count) : repeated(at[0]), sum);
  }
  storeColumns<kAligned>(sum, p.merged + (blockZ() * p.rows + row) * p.columns + column, count);
}

template <bool kByColumn>
WGQA_KERNEL void WGQA_BOUNDS(256, 4) mergeHeads(MergeHeadsArguments p) {
  const std::int64_t row =
      static_cast<std::int64_t>(blockY()) * (blockThreads() / kWarpThreads) + warpIndex();
  if (row >= p.rows) return;
  if (p.isAligned != 0) {
    mergeRow<true, kByColumn>(p, row);
  } else {
    mergeRow<false, kByColumn>(p, row);
  }
}

// ---------------------------------------------------------------------------- backward

enum class SumOver { head, rows, columns };

// What a block has of one matrix: kMergeHeldRows rows for each warp, one after another by warps.
using Tile = FourFloats[kMergeHeldRows];

struct Place {
  int warps;
  std::int64_t firstRow;  // of this warp
  std::int64_t column;
  int count;

  WGQA_DEVICE std::int64_t row(int held) const { return firstRow + held * warps; }
};

WGQA_DEVICE Place placeOf(const MergeHeadsBackwardArguments& p) {
  const int warps = blockThreads() / kWarpThreads;
  return {warps, static_cast<std::int64_t>(blockY()) * kMergeHeldRows * warps + warpIndex(),
          firstColumn(), warpColumnsAt(firstColumn(), p.columns)};
}

template <bool kAligned>
WGQA_DEVICE void loadTile(const MergeHeadsBackwardArguments& p, const Place& place,
                          const float* matrix, Tile& tile) {
  WGQA_UNROLL
  for (int held = 0; held < kMergeHeldRows; ++held) {
    const std::int64_t row = place.row(held);
    tile[held] = loadColumns<kAligned>(matrix + row * p.columns + place.column,
                                       row < p.rows ? place.count : 0);
  }
}

template <bool kAligned, SumOver kOver>
WGQA_DEVICE void addToBase(const MergeHeadsBackwardArguments& p, const Place& place,
                           std::int64_t head, const Tile& grad) {
  float* base = p.gradBase + head * p.rows * p.columns;
  Tile sums;
  loadTile<kAligned>(p, place, base, sums);
  const float* weight = p.weight.data + head * p.weight.headStride;
  FourFloats weights{};
  if (kOver == SumOver::rows) weights = loadColumns<kAligned>(weight + place.column, place.count);
  WGQA_UNROLL
  for (int held = 0; held < kMergeHeldRows; ++held) {
    const std::int64_t row = place.row(held);
    if (row >= p.rows) continue;
    if (kOver != SumOver::rows) weights = repeated(weight[row * p.weight.rowStride]);
    multiplyAdd(weights, grad[held], sums[held]);
    storeColumns<kAligned>(sums[held], base + row * p.columns + place.column, place.count);
  }
}

WGQA_DEVICE void addToSum(const MergeHeadsBackwardArguments& p, std::int64_t slice, std::int64_t at,
                          float share) {
  float* sum = p.sums + slice * p.sumCount + at;
  *sum = p.slices == 1 ? *sum + share : share;
}

// Sums of base * gradMerged. `shared` is this head's; the next head gets another, so that one
// barrier a head is enough.
WGQA_DEVICE void sumOverColumns(const MergeHeadsBackwardArguments& p, const Place& place,
                                std::int64_t head, const Tile& base, const Tile& grad) {
  WGQA_UNROLL
  for (int held = 0; held < kMergeHeldRows; ++held) {
    FourFloats products{};
    multiplyAdd(base[held], grad[held], products);
    const float sum = warpSum(sumOf(products));
    const std::int64_t row = place.row(held);
    if (laneIndex() == 0 && row < p.rows) addToSum(p, blockX(), head * p.rows + row, sum);
  }
}

WGQA_DEVICE void sumOverHead(const MergeHeadsBackwardArguments& p, const Place& place,
                             std::int64_t head, const Tile& base, const Tile& grad, float* shared) {
  FourFloats products{};
  WGQA_UNROLL
  for (int held = 0; held < kMergeHeldRows; ++held) multiplyAdd(base[held], grad[held], products);
  const float own = warpSum(sumOf(products));
  if (laneIndex() == 0) shared[warpIndex()] = own;
  blockBarrier();
  if (threadIndex() != 0) return;
  float sum = 0.0f;
  for (int warp = 0; warp < place.warps; ++warp) sum += shared[warp];
  addToSum(p, static_cast<std::int64_t>(blockY()) * gridX() + blockX(), head, sum);
}

template <bool kAligned>
WGQA_DEVICE void sumOverRows(const MergeHeadsBackwardArguments& p, const Place& place,
                             std::int64_t head, const Tile& base, const Tile& grad, float* shared) {
  FourFloats products{};
  WGQA_UNROLL
  for (int held = 0; held < kMergeHeldRows; ++held) multiplyAdd(base[held], grad[held], products);
  storeColumns<kAligned>(products, shared + warpIndex() * kWarpColumns, kWarpColumns);
  blockBarrier();
  for (int column = threadIndex(); column < place.count; column += blockThreads()) {
    float sum = 0.0f;
    for (int warp = 0; warp < place.warps; ++warp) sum += shared[warp * kWarpColumns + column];
    addToSum(p, blockY(), head * p.columns + place.column + column, sum);
  }
}

template <bool kAligned, SumOver kOver>
WGQA_DEVICE void backwardTile(const MergeHeadsBackwardArguments& p) {
  const Place place = placeOf(p);
  const MergeHeadRange range = p.ranges[blockZ()];
  Tile grad;
  loadTile<kAligned>(p, place, p.gradMerged + range.group * p.rows * p.columns, grad);
  for (int head = range.begin; head < range.end; ++head) {
    Tile base;
    loadTile<kAligned>(p, place, p.base + head * p.rows * p.columns, base);
    if (p.gradBase != nullptr) addToBase<kAligned, kOver>(p, place, head, grad);
    auto* shared = dynamicShared<float>();
    if constexpr (kOver == SumOver::columns) {
      sumOverColumns(p, place, head, base, grad);
    } else if constexpr (kOver == SumOver::rows) {
      sumOverRows<kAligned>(p, place, head, base, grad,
                            shared + head % 2 * place.warps * kWarpColumns);
    } else {
      sumOverHead(p, place, head, base, grad, shared + head % 2 * place.warps);
    }
  }
}

template <SumOver kOver>
WGQA_KERNEL void WGQA_BOUNDS(kMergeMostWarps* kWarpThreads, 1)
    mergeHeadsBackward(MergeHeadsBackwardArguments p) {
  if (p.isAligned != 0) {
    backwardTile<true, kOver>(p);
  } else {
    backwardTile<false, kOver>(p);
  }
}

}  // namespace

std::vector<KernelEntry> mergeKernels() {
  return {kernelEntry<mergeHeads<false>>(kMergeHeads),
          kernelEntry<mergeHeads<true>>(kMergeHeadsByColumn),
          kernelEntry<mergeHeadsBackward<SumOver::head>>(kMergeBackwardOverHead),
          kernelEntry<mergeHeadsBackward<SumOver::rows>>(kMergeBackwardOverRows),
          kernelEntry<mergeHeadsBackward<SumOver::columns>>(kMergeBackwardOverColumns)};
}

}  // namespace wgqa::cuda
