// Arguments and tiles of the kernels in attention_hopper_query_gradient.cu and
// attention_hopper_key_gradient.cu: heads of at most 64 numbers.
#pragma once

#include "ops/cuda/kernels/attention_tensor_backward.h"
#include "ops/cuda/kernels/hopper_tile.h"

namespace wgqa::cuda {

inline constexpr int kHopperGradientColumns = 64;

/// What both kernels have: two warpgroups that multiply, 64 rows each, and one that copies.
struct HopperGradientTiles {
  static constexpr int kMultipliers = 2;
  static constexpr int kWarps = 4 * kMultipliers;
  static constexpr int kThreads = kWarpgroupThreads * (1 + kMultipliers);
  static constexpr int kRows = 64 * kMultipliers;
  static constexpr int kStages = 4;
  static constexpr int kColumns = 64;  // of scores at a time
  static constexpr int kBarrierBytes = 128;
  // All of a multiprocessor.
  static constexpr int kCopierRegisters = 24;
  static constexpr int kMultiplierRegisters = 240;
  using Rows = HopperTile<kRows, kHopperGradientColumns>;
};

/// A block: kRows queries of one head. Block x: query head x % heads of tile x / heads.
struct HopperQueryGradientTiles : HopperGradientTiles {
  static constexpr int kKeys = kColumns;
  using Keys = HopperTile<kKeys, kHopperGradientColumns>;

  // Offsets in shared memory.
  static constexpr int kGradOutAt = Rows::kBytes;
  static constexpr int kKeysAt = 2 * Rows::kBytes;
  static constexpr int kValuesAt = kKeysAt + kStages * Keys::kBytes;
  static constexpr int kBarriersAt = kValuesAt + kStages * Keys::kBytes;
  // For the gradient of the bias, of each warp; behind the bias come sums by distance.
  static constexpr int kDiagonalsAt = kBarriersAt + kBarrierBytes;
  static constexpr int kBiasAt = kDiagonalsAt + kWarps * kDiagonalFloats * 4;

  static constexpr std::int64_t sharedBytes(std::int64_t biasFloats, std::int64_t distances) {
    return kBiasAt + 4 * (biasFloats + kWarps * distances);
  }
};

/// A block: kRows keys of one K/V head. Block x: K/V head x % kvHeads of tile x / kvHeads.
struct HopperKeyGradientTiles : HopperGradientTiles {
  static constexpr int kQueries = kColumns;
  using Queries = HopperTile<kQueries, kHopperGradientColumns>;

  // Offsets in shared memory.
  static constexpr int kValuesAt = Rows::kBytes;
  static constexpr int kQueriesAt = 2 * Rows::kBytes;
  static constexpr int kGradOutAt = kQueriesAt + kStages * Queries::kBytes;
  static constexpr int kStatisticsAt = kGradOutAt + kStages * Queries::kBytes;
  static constexpr int kStatisticsBytes = kQueries * 8;
  static constexpr int kBarriersAt = kStatisticsAt + kStages * kStatisticsBytes;
  static constexpr int kBiasAt = kBarriersAt + kBarrierBytes;  // one of each warpgroup

  static constexpr std::int64_t sharedBytes(std::int64_t biasFloats) {
    return kBiasAt + kMultipliers * 4 * biasFloats;
  }
};

/// biasPartials are [heads, buckets, kMultipliers * query tiles] here.
struct AttentionHopperBackwardArguments : AttentionTensorBackwardArguments {
  TensorMap qRows;        // [queryTokens, heads, headDim], boxes of as many tokens as the kernel's
  TensorMap gradOutRows;  // tiles have: of q, of gradOut,
  TensorMap kRows;        // [keyTokens, kvHeads, headDim] of k
  TensorMap vRows;        // and of v
};

inline constexpr Kernel<AttentionHopperBackwardArguments> kHopperQueryGradient[2] = {
    {"attentionHopperQueryGradient"}, {"attentionHopperQueryGradient<dropout>"}};
inline constexpr Kernel<AttentionHopperBackwardArguments> kHopperKeyGradient[2] = {
    {"attentionHopperKeyGradient"}, {"attentionHopperKeyGradient<dropout>"}};

}  // namespace wgqa::cuda
