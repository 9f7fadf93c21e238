// Arguments of the kernels in merge_constraints.cu: weights are [heads, elements], and a thread has
// one element of all heads of one group.
#pragma once

#include "ops/cuda/kernels/kernel.h"

namespace wgqa::cuda {

struct MergeConstraintGroups {
  const std::int32_t* groupHeads;  // [groups + 1]: first head of each group
  std::int64_t groups;
  std::int64_t elements;
};

struct MergeConstraintArguments {
  MergeConstraintGroups groups;
  const float* raw;
  float* weight;
};

struct MergeConstraintBackwardArguments {
  MergeConstraintGroups groups;
  const float* raw;
  const float* weight;
  const float* gradWeight;
  float* gradRaw;  // +=
};

/// groups * elements threads, in blocks of at most this many.
inline constexpr int kMergeConstraintThreads = 256;

inline constexpr Kernel<MergeConstraintArguments> kConstrainSoftmax{
    "constrainMergeWeights<softmax>"};
inline constexpr Kernel<MergeConstraintArguments> kConstrainSignedUnit{
    "constrainMergeWeights<signed unit>"};
inline constexpr Kernel<MergeConstraintBackwardArguments> kConstrainSoftmaxBackward{
    "constrainMergeWeightsBackward<softmax>"};
inline constexpr Kernel<MergeConstraintBackwardArguments> kConstrainSignedUnitBackward{
    "constrainMergeWeightsBackward<signed unit>"};

}  // namespace wgqa::cuda
