// Sums and maxima over the lanes of a warp and the threads of a block.
#pragma once

#include "ops/cuda/kernels/execution.h"

namespace wgqa::cuda {

/// Every lane gets the sum over `kLanes` neighbouring lanes (a power of two).
template <int kLanes = kWarpThreads, typename T>
WGQA_DEVICE T warpSum(T value) {
  WGQA_UNROLL
  for (int mask = kLanes / 2; mask > 0; mask /= 2) value += shuffleXor(value, mask);
  return value;
}

template <int kLanes = kWarpThreads>
WGQA_DEVICE float warpMax(float value) {
  WGQA_UNROLL
  for (int mask = kLanes / 2; mask > 0; mask /= 2) {
    const float other = shuffleXor(value, mask);
    value = other > value ? other : value;
  }
  return value;
}

/// Every thread gets the sum over the block; `shared` holds 32 values and is free after the next
/// barrier.
template <typename T>
WGQA_DEVICE T blockSum(T value, T* shared) {
  value = warpSum(value);
  if (laneIndex() == 0) shared[warpIndex()] = value;
  blockBarrier();
  T total{};
  for (int warp = 0; warp < blockThreads() / kWarpThreads; ++warp) total += shared[warp];
  return total;
}

/// As blockSum.
WGQA_DEVICE float blockMax(float value, float* shared) {
  value = warpMax(value);
  if (laneIndex() == 0) shared[warpIndex()] = value;
  blockBarrier();
  float most = shared[0];
  for (int warp = 1; warp < blockThreads() / kWarpThreads; ++warp) {
    most = shared[warp] > most ? shared[warp] : most;
  }
  return most;
}

}  // namespace wgqa::cuda
