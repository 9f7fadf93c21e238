#include "ops/cuda/kernels/norm.h"

#include "ops/cuda/kernels/reduce.h"
#include "ops/cuda/kernels/registry.h"
#include "ops/cuda/kernels/warp_columns.h"

namespace wgqa::cuda {
namespace {

// The columns of one of the warps that share a row: neighbouring groups of 128 that it holds, and,
// where rows are so wide that all warps together do not hold them, some of the rest.
struct RowWarps {
  int warps;
  int warp;
  int columns;

  template <int kHeldGroups>
  WGQA_DEVICE int firstHeld() const {
    return warp * (kHeldGroups * kWarpColumns);
  }
  template <int kHeldGroups>
  WGQA_DEVICE int firstOfRest() const {
    return (warps * kHeldGroups + warp) * kWarpColumns;
  }
  WGQA_DEVICE int restStride() const { return warps * kWarpColumns; }
  /// How many of the 128 columns from `column` on there are.
  WGQA_DEVICE int countAt(int column) const { return warpColumnsAt(column, columns); }
};

WGQA_DEVICE float dot(const FourFloats& a, const FourFloats& b) {
  return a.values[0] * b.values[0] + a.values[1] * b.values[1] + a.values[2] * b.values[2] +
         a.values[3] * b.values[3];
}

// ---------------------------------------------------------------------------- forward

template <bool kAligned, typename Out>
WGQA_DEVICE void storeNormalised(const FourFloats& x, const FourFloats& weight, float inverse,
                                 Out* to, int count) {
  FourFloats normalised;
  WGQA_UNROLL
  for (int i = 0; i < 4; ++i) normalised.values[i] = x.values[i] * inverse * weight.values[i];
  storeColumns<kAligned>(normalised, to, count);
}

template <bool kAligned, typename Out>
WGQA_KERNEL void WGQA_BOUNDS(256, 2) rmsNorm(RmsNormArguments p) {
  constexpr int kHeld = kNormHeldGroups;
  const int rowsOfBlock = blockThreads() / kWarpThreads / p.rowWarps;
  const std::int64_t row =
      static_cast<std::int64_t>(blockX()) * rowsOfBlock + warpIndex() / p.rowWarps;
  if (row >= p.rows) return;  // where rows are of one warp each
  const RowWarps own{p.rowWarps, warpIndex() % p.rowWarps, p.columns};
  const float* x = p.x + row * p.columns;
  Out* out = static_cast<Out*>(p.out) + row * p.columns;
  FourFloats held[kHeld];
  FourFloats weight[kHeld];
  float sum = 0.0f;
  WGQA_UNROLL
  for (int group = 0; group < kHeld; ++group) {
    const int column = own.firstHeld<kHeld>() + group * kWarpColumns;
    held[group] = loadColumns<kAligned>(x + column, own.countAt(column));
    weight[group] = loadColumns<kAligned>(p.weight + column, own.countAt(column));
  }
  WGQA_UNROLL
  for (int group = 0; group < kHeld; ++group) sum += dot(held[group], held[group]);
  for (int column = own.firstOfRest<kHeld>(); column < p.columns; column += own.restStride()) {
    const FourFloats more = loadColumns<kAligned>(x + column, own.countAt(column));
    sum += dot(more, more);
  }
  sum = p.rowWarps == 1 ? warpSum(sum) : blockSum(sum, dynamicShared<float>());
  const float inverse = 1.0f / sqrtf(sum / static_cast<float>(p.columns) + p.epsilon);
  WGQA_UNROLL
  for (int group = 0; group < kHeld; ++group) {
    const int column = own.firstHeld<kHeld>() + group * kWarpColumns;
    storeNormalised<kAligned>(held[group], weight[group], inverse, out + column,
                              own.countAt(column));
  }
  for (int column = own.firstOfRest<kHeld>(); column < p.columns; column += own.restStride()) {
    const int count = own.countAt(column);
    storeNormalised<kAligned>(loadColumns<kAligned>(x + column, count),
                              loadColumns<kAligned>(p.weight + column, count), inverse,
                              out + column, count);
  }
  if (p.inverseRms != nullptr && own.warp == 0 && laneIndex() == 0) p.inverseRms[row] = inverse;
}

// ---------------------------------------------------------------------------- backward

// With r = inverseRms, y = gradOut * weight and n columns: gradX += r y - x r^3 / n * sum(x y), and
// gradWeight += gradOut x r.
struct RowFactors {
  float inverse;  // r
  float ofX;      // r^3 / n * sum(x y)
};

WGQA_DEVICE RowFactors factorsOf(float inverse, float sum, int columns) {
  return {inverse, inverse * inverse * inverse / static_cast<float>(columns) * sum};
}

// Four columns of a row.
struct RowPart {
  FourFloats x;
  FourFloats gradOut;
  FourFloats gradX;

  template <bool kAligned>
  WGQA_DEVICE void load(const RmsNormBackwardArguments& p, std::int64_t at, int count) {
    x = loadColumns<kAligned>(p.x + at, count);
    gradOut = loadColumns<kAligned>(p.gradOut + at, count);
    gradX = loadColumns<kAligned>(p.gradX + at, count);
  }
  WGQA_DEVICE float dotWith(const FourFloats& weight) const {
    float sum = 0.0f;
    WGQA_UNROLL
    for (int i = 0; i < 4; ++i) sum += x.values[i] * (gradOut.values[i] * weight.values[i]);
    return sum;
  }
  WGQA_DEVICE void add(const FourFloats& weight, const RowFactors& factors,
                       FourFloats& gradWeight) {
    WGQA_UNROLL
    for (int i = 0; i < 4; ++i) {
      gradX.values[i] +=
          factors.inverse * (gradOut.values[i] * weight.values[i]) - x.values[i] * factors.ofX;
      gradWeight.values[i] += gradOut.values[i] * x.values[i] * factors.inverse;
    }
  }
};

// Sums of several values over the block, in every thread. Two calls in turn use different places in
// shared memory, so that one barrier does for each.
template <int kValues>
WGQA_DEVICE void blockSums(float (&values)[kValues], float* shared) {
  WGQA_UNROLL
  for (int i = 0; i < kValues; ++i) values[i] = warpSum(values[i]);
  if (laneIndex() == 0) {
    WGQA_UNROLL
    for (int i = 0; i < kValues; ++i) shared[warpIndex() * kValues + i] = values[i];
  }
  blockBarrier();
  WGQA_UNROLL
  for (int i = 0; i < kValues; ++i) values[i] = 0.0f;
  for (int warp = 0; warp < blockThreads() / kWarpThreads; ++warp) {
    WGQA_UNROLL
    for (int i = 0; i < kValues; ++i) values[i] += shared[warp * kValues + i];
  }
}

// The rest of a wide row is read twice, and its part of the weight's gradient grows in device
// memory.
template <bool kAligned, int kHeldGroups>
WGQA_DEVICE float restDot(const RmsNormBackwardArguments& p, const RowWarps& own,
                          std::int64_t row) {
  float sum = 0.0f;
  for (int column = own.firstOfRest<kHeldGroups>(); column < p.columns;
       column += own.restStride()) {
    const int count = own.countAt(column);
    RowPart part;
    part.template load<kAligned>(p, row * p.columns + column, count);
    sum += part.dotWith(loadColumns<kAligned>(p.weight + column, count));
  }
  return sum;
}

template <bool kAligned, int kHeldGroups>
WGQA_DEVICE void addRest(const RmsNormBackwardArguments& p, const RowWarps& own, std::int64_t row,
                         const RowFactors& factors, float* partial, bool isFirst) {
  for (int column = own.firstOfRest<kHeldGroups>(); column < p.columns;
       column += own.restStride()) {
    const int count = own.countAt(column);
    FourFloats gradWeight = loadColumns<kAligned>(partial + column, isFirst ? 0 : count);
    RowPart part;
    part.template load<kAligned>(p, row * p.columns + column, count);
    part.add(loadColumns<kAligned>(p.weight + column, count), factors, gradWeight);
    storeColumns<kAligned>(part.gradX, p.gradX + row * p.columns + column, count);
    storeColumns<kAligned>(gradWeight, partial + column, count);
  }
}

// What a warp holds of kRows rows.
template <bool kAligned, int kRows, int kGroups>
struct RowTile {
  RowPart parts[kRows][kGroups];
  float inverse[kRows];

  /// Rows from `end` on are zeros.
  WGQA_DEVICE void load(const RmsNormBackwardArguments& p, const RowWarps& own, std::int64_t first,
                        std::int64_t end) {
    WGQA_UNROLL
    for (int i = 0; i < kRows; ++i) {
      const bool isRow = first + i < end;
      inverse[i] = isRow ? p.inverseRms[first + i] : 0.0f;
      WGQA_UNROLL
      for (int group = 0; group < kGroups; ++group) {
        const int column = own.firstHeld<kGroups>() + group * kWarpColumns;
        parts[i][group].template load<kAligned>(p, (first + i) * p.columns + column,
                                                isRow ? own.countAt(column) : 0);
      }
    }
  }
  WGQA_DEVICE void dots(const FourFloats (&weight)[kGroups], float (&sums)[kRows]) const {
    WGQA_UNROLL
    for (int i = 0; i < kRows; ++i) {
      sums[i] = 0.0f;
      WGQA_UNROLL
      for (int group = 0; group < kGroups; ++group) {
        sums[i] += parts[i][group].dotWith(weight[group]);
      }
    }
  }
  WGQA_DEVICE void addRow(int i, const FourFloats (&weight)[kGroups], const RowFactors& factors,
                          FourFloats (&gradWeight)[kGroups]) {
    WGQA_UNROLL
    for (int group = 0; group < kGroups; ++group) {
      parts[i][group].add(weight[group], factors, gradWeight[group]);
    }
  }
  WGQA_DEVICE void store(const RmsNormBackwardArguments& p, const RowWarps& own, std::int64_t first,
                         std::int64_t end) const {
    WGQA_UNROLL
    for (int i = 0; i < kRows; ++i) {
      WGQA_UNROLL
      for (int group = 0; group < kGroups; ++group) {
        const int column = own.firstHeld<kGroups>() + group * kWarpColumns;
        storeColumns<kAligned>(parts[i][group].gradX, p.gradX + (first + i) * p.columns + column,
                               first + i < end ? own.countAt(column) : 0);
      }
    }
  }
};

template <bool kAligned, int kRows, int kGroups>
WGQA_KERNEL void WGQA_BOUNDS(256, 2) rmsNormBackward(RmsNormBackwardArguments p) {
  const RowWarps own{blockThreads() / kWarpThreads, warpIndex(), p.columns};
  const std::int64_t begin = blockX() * p.rowsPerSlice;
  const std::int64_t end = begin + p.rowsPerSlice < p.rows ? begin + p.rowsPerSlice : p.rows;
  float* partial = p.partial + static_cast<std::int64_t>(blockX()) * p.columns;
  FourFloats weight[kGroups];
  FourFloats gradWeight[kGroups] = {};
  WGQA_UNROLL
  for (int group = 0; group < kGroups; ++group) {
    const int column = own.firstHeld<kGroups>() + group * kWarpColumns;
    weight[group] = loadColumns<kAligned>(p.weight + column, own.countAt(column));
  }
  float* shared = dynamicShared<float>();
  float* otherShared = shared + kRows * kNormMostWarps;
  for (std::int64_t first = begin; first < end; first += kRows) {
    RowTile<kAligned, kRows, kGroups> tile;
    tile.load(p, own, first, end);
    float sums[kRows];
    tile.dots(weight, sums);
    if constexpr (kRows == 1) sums[0] += restDot<kAligned, kGroups>(p, own, first);
    blockSums(sums, shared);
    WGQA_UNROLL
    for (int i = 0; i < kRows; ++i) {
      const RowFactors factors = factorsOf(tile.inverse[i], sums[i], p.columns);
      tile.addRow(i, weight, factors, gradWeight);
      if constexpr (kRows == 1) {
        addRest<kAligned, kGroups>(p, own, first, factors, partial, first == begin);
      }
    }
    tile.store(p, own, first, end);
    float* const used = shared;
    shared = otherShared;
    otherShared = used;
  }
  WGQA_UNROLL
  for (int group = 0; group < kGroups; ++group) {
    const int column = own.firstHeld<kGroups>() + group * kWarpColumns;
    storeColumns<kAligned>(gradWeight[group], partial + column, own.countAt(column));
  }
}

// ---------------------------------------------------------------------------- sums of slices

WGQA_KERNEL void WGQA_BOUNDS(256, 4) sumSlices(SumSlicesArguments p) {
  float* sums = dynamicShared<float>();
  const int part = warpIndex() % p.parts;
  const std::int64_t group =
      static_cast<std::int64_t>(blockX()) * (kSumSlicesWarps / p.parts) + warpIndex() / p.parts;
  const std::int64_t i = group * kWarpThreads + laneIndex();
  const std::int64_t begin = static_cast<std::int64_t>(part) * p.slicesPerPart;
  const std::int64_t end = begin + p.slicesPerPart < p.slices ? begin + p.slicesPerPart : p.slices;
  float sum = 0.0f;
  if (i < p.count) {
    WGQA_UNROLL_BY(8)
    for (std::int64_t slice = begin; slice < end; ++slice) sum += p.partial[slice * p.count + i];
  }
  if (p.parts > 1) {
    sums[threadIndex()] = sum;
    blockBarrier();
    if (part > 0) return;
    for (int other = 1; other < p.parts; ++other) sum += sums[threadIndex() + other * kWarpThreads];
  }
  if (i < p.count) p.out[i] += sum;
}

constexpr NormBackwardTile kNarrow = kNormNarrowTile;
constexpr NormBackwardTile kWide = kNormWideTile;

}  // namespace

std::vector<KernelEntry> normKernels() {
  return {kernelEntry<rmsNorm<false, float>>(kRmsNorm[0][0]),
          kernelEntry<rmsNorm<true, float>>(kRmsNorm[0][1]),
          kernelEntry<rmsNorm<false, Float16Element>>(kRmsNorm[1][0]),
          kernelEntry<rmsNorm<true, Float16Element>>(kRmsNorm[1][1]),
          kernelEntry<rmsNorm<false, BFloat16Element>>(kRmsNorm[2][0]),
          kernelEntry<rmsNorm<true, BFloat16Element>>(kRmsNorm[2][1]),
          kernelEntry<rmsNormBackward<false, kWide.rows, kWide.groups>>(kRmsNormBackwardWide[0]),
          kernelEntry<rmsNormBackward<true, kWide.rows, kWide.groups>>(kRmsNormBackwardWide[1]),
          kernelEntry<rmsNormBackward<true, kNarrow.rows, kNarrow.groups>>(kRmsNormBackwardNarrow),
          kernelEntry<sumSlices>(kSumSlices)};
}

}  // namespace wgqa::cuda
