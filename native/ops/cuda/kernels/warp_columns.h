// Rows read and written by whole warps: 128 neighbouring columns at a time, four to each lane. A
// lane's four are neighbours, one access, where the rows are aligned; elsewhere every thirty-second
// column, so that the warp's accesses of one element each are neighbours.
#pragma once

#include "ops/cuda/kernels/groups.h"

namespace wgqa::cuda {

inline constexpr int kWarpColumns = 128;

/// Which of the 128 columns a lane's i-th is.
template <bool kAligned>
WGQA_DEVICE int warpColumn(int i) {
  return kAligned ? 4 * laneIndex() + i : laneIndex() + kWarpThreads * i;
}

/// How many of the 128 columns from `column` on a row of `columns` has.
template <typename Index>
WGQA_DEVICE int warpColumnsAt(Index column, Index columns) {
  const Index left = columns - column;
  return left >= kWarpColumns ? kWarpColumns : left > 0 ? static_cast<int>(left) : 0;
}

/// The first `count` of the 128 columns at `from`; zeros for the rest. Aligned: `from` to 16 bytes,
/// and `count` is a multiple of four.
template <bool kAligned>
WGQA_DEVICE FourFloats loadColumns(const float* from, int count) {
  FourFloats result{};
  if constexpr (kAligned) {
    if (warpColumn<true>(0) >= count) return result;
    const Vector<float, 4> vector = loadVector<4>(from + warpColumn<true>(0));
    WGQA_UNROLL
    for (int i = 0; i < 4; ++i) result.values[i] = vector.elements[i];
  } else {
    WGQA_UNROLL
    for (int i = 0; i < 4; ++i) {
      if (warpColumn<false>(i) < count) result.values[i] = from[warpColumn<false>(i)];
    }
  }
  return result;
}

/// Writes the first `count` of the 128 columns at `to`, as loadColumns reads them, rounded to T.
template <bool kAligned, typename T>
WGQA_DEVICE void storeColumns(const FourFloats& from, T* to, int count) {
  if constexpr (kAligned) {
    if (warpColumn<true>(0) >= count) return;
    Vector<T, 4> vector;
    WGQA_UNROLL
    for (int i = 0; i < 4; ++i) round(from.values[i], vector.elements[i]);
    storeVector(to + warpColumn<true>(0), vector);
  } else {
    WGQA_UNROLL
    for (int i = 0; i < 4; ++i) {
      if (warpColumn<false>(i) < count) round(from.values[i], to[warpColumn<false>(i)]);
    }
  }
}

}  // namespace wgqa::cuda
