// Arguments of float32 attention over whole sequences, forward and backward, and the tiles it works
// on.
#pragma once

#include "ops/cuda/kernels/attention_shape.h"
#include "ops/cuda/kernels/elements.h"
#include "ops/cuda/kernels/kernel.h"

namespace wgqa::cuda {

/// Queries, and keys, of a tile, by the bound of the head size: what fits into shared memory.
template <int kHeadDim>
inline constexpr int kFloatTile = kHeadDim <= 64 ? 64 : 32;

/// A thread has four rows of a tile, and four of its columns.
template <int kHeadDim>
inline constexpr int kFloatThreads = kFloatTile<kHeadDim> / 4 * (kFloatTile<kHeadDim> / 4);

/// Components of a row that a block of threads sums up: of larger heads several blocks do.
template <int kHeadDim>
inline constexpr int kFloatColumns = kHeadDim < 128 ? kHeadDim : 128;

/// Tiles of queries (x), query heads (y), parts of the head size (z).
struct AttentionFloatArguments {
  AttentionShapeArguments shape;
  const SequenceTile* tiles;
  const float* q;    // [queryTokens, heads, headDim]
  const float* k;    // [keyTokens, kvHeads, headDim]
  const float* v;    // as k
  void* out;         // [queryTokens, heads, headDim]
  float* logSumExp;  // [queryTokens, heads], or null
  FloatType outType;
};

struct AttentionFloatBackwardArguments {
  AttentionShapeArguments shape;
  const SequenceTile* tiles;
  const float* q;
  const float* k;
  const float* v;
  const float* logSumExp;          // [queryTokens, heads]
  const float* gradOut;            // [queryTokens, heads, headDim]
  const float* deltas;             // [queryTokens, heads]: gradOut . out
  void* gradQ;                     // as q
  void* gradK;                     // as k
  void* gradV;                     // as k
  float* biasPartials;             // [tiles of queries, buckets, heads]
  const std::int32_t* groupHeads;  // [kvHeads + 1]: first query head of each K/V head
  FloatType gradType;
};

/// A warp per row.
struct AttentionDeltasArguments {
  const float* gradOut;  // [rows, headDim]
  const void* out;       // as gradOut, of the kernel's type
  float* deltas;         // [rows]
  std::int64_t rows;
  std::int32_t headDim;
};

// Bounds of the head size: 32, 64, 128, 256.
inline constexpr Kernel<AttentionFloatArguments> kAttentionFloat[] = {{"attentionFloat<32>"},
                                                                      {"attentionFloat<64>"},
                                                                      {"attentionFloat<128>"},
                                                                      {"attentionFloat<256>"}};
inline constexpr Kernel<AttentionFloatBackwardArguments> kAttentionFloatQueryGradient[] = {
    {"attentionFloatQueryGradient<32>"},
    {"attentionFloatQueryGradient<64>"},
    {"attentionFloatQueryGradient<128>"},
    {"attentionFloatQueryGradient<256>"}};
/// Tiles of keys (x), K/V heads (y), parts of the head size (z).
inline constexpr Kernel<AttentionFloatBackwardArguments> kAttentionFloatKeyGradient[] = {
    {"attentionFloatKeyGradient<32>"},
    {"attentionFloatKeyGradient<64>"},
    {"attentionFloatKeyGradient<128>"},
    {"attentionFloatKeyGradient<256>"}};
// Of out in float32, bfloat16.
inline constexpr Kernel<AttentionDeltasArguments> kAttentionDeltas[] = {
    {"attentionDeltas<float32>"}, {"attentionDeltas<bfloat16>"}};

}  // namespace wgqa::cuda
