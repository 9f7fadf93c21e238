// The host's part of the backward pass of attention: what all tasks share, and the gradient of the
// bias table, which joins what the tasks found.
#pragma once

#include "ops/cpu/attention_plan.h"

namespace wgqa::cpu {

struct BackwardPlan {
  QueryChunks chunks;
  BucketTable buckets;  // if there is a bias
  DistanceBias bias;
  int maxGroup = 0;  // query heads of the largest group
  std::int64_t maxKeys = 0;
  float* gradKeyPartials = nullptr;    // [chunks.partialRows, 2 (K and V), headDim]
  double* gradBiasPartials = nullptr;  // [chunks, maxGroup, buckets]
};

BackwardPlan planBackward(const AttentionPrefillBackward& p, Scratch& scratch);

/// Adds the tasks' sums to the gradient of the table, in the order of the tasks and in double.
void addBiasTable(const AttentionPrefillBackward& p, const BackwardPlan& plan);

}  // namespace wgqa::cpu
