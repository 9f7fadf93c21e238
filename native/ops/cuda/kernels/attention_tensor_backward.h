// Arguments and tiles of the kernels in attention_tensor_backward.cu.
#pragma once

#include "ops/cuda/kernels/attention_bias_gradient.h"
#include "ops/cuda/kernels/attention_tile.h"
#include "ops/cuda/kernels/kernel.h"

namespace wgqa::cuda {

/// What both gradient kernels need of a query: the logarithm of its softmax's sum in log2 units,
/// and gradOut . out. A query that sees no key has infinity and 0.
struct QueryStatistics {
  float logSum;
  float delta;
};

/// Queries of statistics are aligned to this many, per sequence; see statisticsStart().
inline constexpr int kStatisticsRows = 128;

/// Where a sequence's statistics begin, which rows up to a multiple of kStatisticsRows follow.
WGQA_DEVICE int statisticsStart(int sequence, int queryOffset) {
  return ((queryOffset + kStatisticsRows - 1) / kStatisticsRows + sequence) * kStatisticsRows;
}

// ---------------------------------------------------------------------------- statistics

struct StatisticsTiles {
  static constexpr int kThreads = 256;
  static constexpr int kLanes = 8;  // that share a row
  static constexpr int kRows = kStatisticsRows;
};

/// Block x: query head x % heads of tile x / heads, of kRows queries.
struct QueryStatisticsArguments {
  AttentionShapeArguments shape;
  const SequenceTile* tiles;
  const void* gradOut;              // [queryTokens, heads, headDim] of the kernel's first type
  const void* out;                  // [queryTokens, heads, headDim] of its second
  const float* logSumExp;           // [queryTokens, heads]
  BFloat16Element* roundedGradOut;  // [queryTokens, heads, headDim], or null if gradOut is that
  QueryStatistics* statistics;      // [heads, statisticsRows]
  std::int64_t statisticsRows;
};

// ---------------------------------------------------------------------------- gradients

struct AttentionTensorBackwardArguments {
  AttentionShapeArguments shape;
  const SequenceTile* tiles;       // of kQueries queries, or of kKeys keys
  const std::int32_t* groups;      // [kvHeads + 1] first query head of each K/V head
  const BFloat16Element* q;        // [queryTokens, heads, headDim]
  const BFloat16Element* k;        // [keyTokens, kvHeads, headDim]
  const BFloat16Element* v;        // [keyTokens, kvHeads, headDim]
  const BFloat16Element* gradOut;  // [queryTokens, heads, headDim]
  const QueryStatistics* statistics;
  std::int64_t statisticsRows;
  void* gradQ;          // [queryTokens, heads, headDim] float32 | bfloat16
  void* gradK;          // [keyTokens, kvHeads, headDim], of gradQ's type
  void* gradV;          // as gradK
  float* biasPartials;  // [heads, buckets, query tiles], or null
  bool gradsAreFloat32;
};

/// A block: kQueries queries of one head. Block x: query head x % heads of tile x / heads.
template <int kHeadDim>
struct QueryGradientTiles {
  static constexpr int kWarps = 4;
  static constexpr int kThreads = 32 * kWarps;
  static constexpr int kRowTiles = 2;
  static constexpr int kWarpQueries = 16 * kRowTiles;
  static constexpr int kQueries = kWarps * kWarpQueries;
  static constexpr int kKeys = kHeadDim == 64 ? 64 : 32;
  static constexpr int kStepKeys = 32;
  static constexpr int kStages = 2;

  // Offsets in shared memory.
  static constexpr int kGradOutAt = kQueries * TileLayout<kHeadDim>::kRowBytes;
  static constexpr int kTileBytes = kKeys * TileLayout<kHeadDim>::kRowBytes;
  static constexpr int kKeysAt = 2 * kGradOutAt;
  static constexpr int kValuesAt = kKeysAt + kStages * kTileBytes;
  static constexpr int kStatisticsAt = kValuesAt + kStages * kTileBytes;
  // For the gradient of the bias, of each warp; behind the bias come sums by distance.
  static constexpr int kDiagonalsAt = kStatisticsAt + kQueries * 8;
  static constexpr int kBiasAt = kDiagonalsAt + kWarps * kDiagonalFloats * 4;

  static constexpr std::int64_t sharedBytes(std::int64_t biasFloats, std::int64_t distances) {
    return kBiasAt + 4 * (biasFloats + kWarps * distances);
  }
};

/// A block: kKeys keys of one K/V head. Block x: K/V head x % kvHeads of tile x / kvHeads.
template <int kHeadDim>
struct KeyGradientTiles {
  static constexpr int kRowTiles = kHeadDim == 64 ? 2 : 1;
  static constexpr int kWarpKeys = 16 * kRowTiles;
  static constexpr int kKeys = 128;
  static constexpr int kWarps = kKeys / kWarpKeys;
  static constexpr int kThreads = 32 * kWarps;
  static constexpr int kQueries = kHeadDim == 64 ? 64 : 32;
  static constexpr int kStepQueries = 32;
  static constexpr int kStages = 2;

  // Offsets in shared memory.
  static constexpr int kValuesAt = kKeys * TileLayout<kHeadDim>::kRowBytes;
  static constexpr int kTileBytes = kQueries * TileLayout<kHeadDim>::kRowBytes;
  static constexpr int kQueriesAt = 2 * kValuesAt;
  static constexpr int kGradOutAt = kQueriesAt + kStages * kTileBytes;
  static constexpr int kStatisticsAt = kGradOutAt + kStages * kTileBytes;
  static constexpr int kStatisticsBytes = kQueries * 8;
  static constexpr int kBiasAt = kStatisticsAt + kStages * kStatisticsBytes;

  static constexpr std::int64_t sharedBytes(std::int64_t biasFloats) {
    return kBiasAt + 4 * biasFloats;
  }
};

/// Block x, y: bucket x of head y.
struct BiasGradientArguments {
  const float* partials;  // [heads, buckets, tiles]
  float* gradBiasTable;   // [buckets, heads], +=
  std::int64_t tiles;
};
inline constexpr int kBiasGradientThreads = 128;

inline constexpr Kernel<QueryStatisticsArguments> kQueryStatistics[2][2] = {
    {{"attentionQueryStatistics<float32, float32>"},
     {"attentionQueryStatistics<float32, bfloat16>"}},
    {{"attentionQueryStatistics<bfloat16, float32>"},
     {"attentionQueryStatistics<bfloat16, bfloat16>"}}};
inline constexpr Kernel<AttentionTensorBackwardArguments> kQueryGradient64[2] = {
    {"attentionTensorQueryGradient<64>"}, {"attentionTensorQueryGradient<64, dropout>"}};
inline constexpr Kernel<AttentionTensorBackwardArguments> kQueryGradient128[2] = {
    {"attentionTensorQueryGradient<128>"}, {"attentionTensorQueryGradient<128, dropout>"}};
inline constexpr Kernel<AttentionTensorBackwardArguments> kKeyGradient64[2] = {
    {"attentionTensorKeyGradient<64>"}, {"attentionTensorKeyGradient<64, dropout>"}};
inline constexpr Kernel<AttentionTensorBackwardArguments> kKeyGradient128[2] = {
    {"attentionTensorKeyGradient<128>"}, {"attentionTensorKeyGradient<128, dropout>"}};
inline constexpr Kernel<BiasGradientArguments> kBiasGradient{"attentionTensorBiasGradient"};

}  // namespace wgqa::cuda
