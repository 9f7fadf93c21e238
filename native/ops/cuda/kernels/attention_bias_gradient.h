// The gradient of T5's bias table, from a warp's fragments of the gradients of scores: sums by
// distance first, then by bucket. Every sum has one order.
#pragma once

#include "ops/cuda/kernels/attention_tile.h"
#include "ops/cuda/kernels/reduce.h"

namespace wgqa::cuda {

/// Floats between rows of a fragment whose diagonals are summed: 32 columns, and what the last of
/// eight rows is ahead of the first.
inline constexpr int kDiagonalStride = 41;

/// Floats of shared memory of each warp: eight rows of scores' gradients and three sums of each
/// lane. Sums by distance come beside them.
inline constexpr int kDiagonalFloats = 8 * kDiagonalStride + 3 * 32;

/// A warp's sums of the gradients of scores by distance, in shared memory: there are not registers
/// for them.
struct DistanceSums {
  float* rows;     // [8, kDiagonalStride] of a fragment
  float* before;   // [32] by lane, together the sum of the distances up to -reach
  float* after;    // [32] and of those from reach on
  float* pending;  // [32] of the last fragment's distance + lane: the next may have more of it
  float* between;  // [2 * reach + 1] of the other distances, by distancePlace()
  int reach;
};

/// Those of a warp of the ones that multiply, in the shared memory of a kernel with such tiles.
template <typename Tiles>
WGQA_DEVICE DistanceSums distanceSums(const RelativeBiasArguments& bias, int warp) {
  auto* shared = dynamicShared<unsigned char>();
  auto* rows = reinterpret_cast<float*>(shared + Tiles::kDiagonalsAt) + warp * kDiagonalFloats;
  float* lanes = rows + 8 * kDiagonalStride;
  auto* window = reinterpret_cast<float*>(shared + Tiles::kBiasAt);
  return {rows,
          lanes,
          lanes + kWarpThreads,
          lanes + 2 * kWarpThreads,
          window + biasWindowFloats(bias.reach) + warp * (2 * bias.reach + 1),
          bias.reach};
}

WGQA_DEVICE void clear(const DistanceSums& sums) {
  sums.before[laneIndex()] = 0.0f;
  sums.after[laneIndex()] = 0.0f;
  sums.pending[laneIndex()] = 0.0f;
  for (int i = laneIndex(); i < 2 * sums.reach + 1; i += kWarpThreads) sums.between[i] = 0.0f;
  warpBarrier();
}

// A warp meets a distance between -reach and reach once.
WGQA_DEVICE void settle(const DistanceSums& sums, int distance, float sum) {
  if (distance <= -sums.reach) {
    sums.before[laneIndex()] += sum;
  } else if (distance >= sums.reach) {
    sums.after[laneIndex()] += sum;
  } else {
    sums.between[distance + sums.reach] += sum;
  }
}

/// `distance`: of the last fragment.
WGQA_DEVICE void settlePending(const DistanceSums& sums, int distance) {
  settle(sums, distance + laneIndex(), sums.pending[laneIndex()]);
  sums.pending[laneIndex()] = 0.0f;
}

template <int kRowTiles, int kColumnTiles>
WGQA_DEVICE float sumOfLane(const float (&values)[kRowTiles][kColumnTiles][4]) {
  float sum = 0.0f;
  WGQA_UNROLL
  for (int m = 0; m < kRowTiles; ++m) {
    WGQA_UNROLL
    for (int n = 0; n < kColumnTiles; ++n) {
      sum += (values[m][n][0] + values[m][n][1]) + (values[m][n][2] + values[m][n][3]);
    }
  }
  return sum;
}

// The scores of one distance lie on a diagonal of a fragment. Eight of its rows lie in shared
// memory at a time, each a place before where a plain matrix would have it, so that a diagonal is a
// column and neither those who write rows nor those who read columns meet in a bank. Lane l sums
// the columns (row + l) % 32: first the diagonal that begins at column l, then the one that ends
// there.
template <int kRowTiles>
WGQA_DEVICE void addDiagonals(const float (&grads)[kRowTiles][4][4], int distance,
                              const DistanceSums& sums) {
  const int lane = laneIndex();
  float ending = sums.pending[lane];
  float beginning = 0.0f;
  WGQA_UNROLL
  for (int r = 0; r < 2 * kRowTiles; ++r) {
    warpBarrier();
    WGQA_UNROLL
    for (int n = 0; n < 4; ++n) {
      const float* pair = &grads[r / 2][n][r % 2 * 2];
      float* to = sums.rows + (kDiagonalStride - 1) * laneRow() + 8 + 8 * n + laneColumn();
      storeVector(to, Vector<float, 2>{{pair[0], pair[1]}});
    }
    warpBarrier();
    WGQA_UNROLL
    for (int i = 0; i < 8; ++i) {
      const bool begins = 8 * r + i + lane < 32;
      const float value = sums.rows[kDiagonalStride * i + 8 + 8 * r + lane - (begins ? 0 : 32)];
      (begins ? beginning : ending) += value;
    }
  }
  settle(sums, distance + lane - 32, ending);
  sums.pending[lane] = beginning;
}

/// Adds a fragment whose row 0 and column 0 are `distance` apart, 32 more than the last.
template <int kRowTiles>
WGQA_DEVICE void addToDistances(const float (&grads)[kRowTiles][4][4], int distance,
                                const DistanceSums& sums) {
  const int side = distancesFrom<true, 16 * kRowTiles, 32>(distance).side(sums.reach);
  if (side == 0) return addDiagonals(grads, distance, sums);
  const int lastSide = distancesFrom<true, 16 * kRowTiles, 32>(distance - 32).side(sums.reach);
  if (lastSide == 0) settlePending(sums, distance - 32);
  (side < 0 ? sums.before : sums.after)[laneIndex()] += sumOfLane(grads);
}

/// After all is added: what lanes have for themselves joins the sums by distance.
WGQA_DEVICE void joinDistances(const DistanceSums& sums, int lastDistance) {
  settlePending(sums, lastDistance);
  const float before = warpSum(sums.before[laneIndex()]);
  const float after = warpSum(sums.after[laneIndex()]);
  if (laneIndex() == 0) {
    sums.between[0] += before;
    sums.between[2 * sums.reach] += after;
  }
}

/// Warp `warp` of kWarps, after all have joined theirs: sums by bucket, to partials[bucket *
/// stride]. `first`: the sums of the first warp, which the others' follow.
template <int kWarps>
WGQA_DEVICE void storeBuckets(const RelativeBiasArguments& bias, const DistanceSums& first,
                              int warp, std::int64_t stride, float* partials) {
  const int distances = 2 * bias.reach + 1;
  for (int bucket = warp; bucket < bias.bucketCount; bucket += kWarps) {
    float sum = 0.0f;
    for (int place = laneIndex(); place < distances; place += kWarpThreads) {
      if (bias.buckets[place] != bucket) continue;
      for (int i = 0; i < kWarps; ++i) sum += first.between[i * distances + place];
    }
    sum = warpSum(sum);
    if (laneIndex() == 0) partials[bucket * stride] = sum;
  }
}

}  // namespace wgqa::cuda
