// T5's relative position bias on the device.
#pragma once

#include "ops/cuda/kernels/execution.h"

namespace wgqa::cuda {

/// RelativeBias as kernels get it. Distances (key position - query position) beyond `reach` have
/// the bucket of those at it.
struct RelativeBiasArguments {
  const float* table;           // [buckets, heads], or null: no bias
  const std::int32_t* buckets;  // [2 * reach + 1] by distance + reach
  std::int32_t reach;
  std::int32_t heads;
  std::int32_t bucketCount;
};

/// Place of a distance in a table of 2 * reach + 1.
WGQA_DEVICE int distancePlace(int distance, int reach) {
  const int clamped = distance < -reach ? -reach : distance > reach ? reach : distance;
  return clamped + reach;
}

/// Floats of shared memory that loadBias() fills for one head.
WGQA_DEVICE int biasFloats(const RelativeBiasArguments& bias) {
  return bias.table == nullptr ? 0 : 2 * bias.reach + 1;
}

/// All threads of the block: the bias of one head by distancePlace(). A barrier must follow.
WGQA_DEVICE void loadBias(const RelativeBiasArguments& bias, int head, float* shared) {
  for (int i = threadIndex(); i < biasFloats(bias); i += blockThreads()) {
    shared[i] = bias.table[bias.buckets[i] * bias.heads + head];
  }
}

}  // namespace wgqa::cuda
