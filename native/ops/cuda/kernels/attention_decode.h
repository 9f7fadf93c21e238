// Arguments of the kernels of decode attention: one query per sequence over a paged cache.
//
// A sequence's keys are cut into splits of a size that depends on the model's shape alone, so that
// what a row gets does not depend on its batch; a block of threads takes one split of one K/V head
// for all query heads that read it. Where a sequence may have several, they leave partial results,
// which a last kernel joins (Dao et al. 2023, "Flash-Decoding").
#pragma once

#include "ops/cuda/kernels/elements.h"
#include "ops/cuda/kernels/kernel.h"
#include "ops/cuda/kernels/relative_bias.h"

namespace wgqa::cuda {

/// Warps of a block: each takes its own part of the split.
inline constexpr int kDecodeWarps = 4;
inline constexpr int kDecodeThreads = 32 * kDecodeWarps;

/// What the softmax over some keys of one head came to: sums of exp2(score - max).
struct PartialSoftmax {
  float max;  // of the scores, in units of log 2
  float sum;
};

/// Splits (x), K/V heads (y), sequences (z).
struct AttentionDecodeArguments {
  const void* q;                     // [sequences, heads, headDim]
  const void* keys;                  // [blocks, kvHeads, headDim, blockTokens]
  const void* values;                // [blocks, kvHeads, blockTokens, headDim]
  const float* keyScales;            // [blocks, kvHeads, blockTokens] of int8
  const float* valueScales;          // as keyScales
  const std::int32_t* blockTable;    // block ids of all sequences
  const std::int32_t* tableOffsets;  // [sequences + 1] into blockTable
  const std::int32_t* lengths;       // [sequences]
  const std::int32_t* groupHeads;    // [kvHeads + 1]: first query head of each K/V head
  void* out;                         // [sequences, heads, headDim]; used if there is one split
  float* partials;                   // [sequences, heads, splits, headDim], else
  PartialSoftmax* softmaxes;         // [sequences, heads, splits]
  std::int64_t keyStride;            // elements from block to block
  std::int64_t valueStride;
  std::int64_t scaleStride;
  RelativeBiasArguments bias;
  float scale;  // of the scores, log2(e) included
  std::int32_t heads;
  std::int32_t headDim;
  std::int32_t blockTokens;
  std::int32_t splitKeys;
  FloatType outType;
};

/// A warp per head (x times 4) of a sequence (y).
struct DecodeCombineArguments {
  const float* partials;
  const PartialSoftmax* softmaxes;
  const std::int32_t* lengths;
  void* out;
  std::int32_t heads;
  std::int32_t headDim;
  std::int32_t splits;
  std::int32_t splitKeys;
  FloatType outType;
};

// [queries float32, float16, bfloat16][cache float32, float16, bfloat16, int8].
inline constexpr Kernel<AttentionDecodeArguments> kDecodeScalar[3][4] = {
    {{"attentionDecodeScalar<float32, float32>"},
     {"attentionDecodeScalar<float32, float16>"},
     {"attentionDecodeScalar<float32, bfloat16>"},
     {"attentionDecodeScalar<float32, int8>"}},
    {{"attentionDecodeScalar<float16, float32>"},
     {"attentionDecodeScalar<float16, float16>"},
     {"attentionDecodeScalar<float16, bfloat16>"},
     {"attentionDecodeScalar<float16, int8>"}},
    {{"attentionDecodeScalar<bfloat16, float32>"},
     {"attentionDecodeScalar<bfloat16, float16>"},
     {"attentionDecodeScalar<bfloat16, bfloat16>"},
     {"attentionDecodeScalar<bfloat16, int8>"}}};
// [headDim 64, 128][queries float16, bfloat16][cache of the queries' type, int8].
inline constexpr Kernel<AttentionDecodeArguments> kDecodeTensor[2][2][2] = {
    {{{"attentionDecodeTensor<64, float16, float16>"},
      {"attentionDecodeTensor<64, float16, int8>"}},
     {{"attentionDecodeTensor<64, bfloat16, bfloat16>"},
      {"attentionDecodeTensor<64, bfloat16, int8>"}}},
    {{{"attentionDecodeTensor<128, float16, float16>"},
      {"attentionDecodeTensor<128, float16, int8>"}},
     {{"attentionDecodeTensor<128, bfloat16, bfloat16>"},
      {"attentionDecodeTensor<128, bfloat16, int8>"}}}};
inline constexpr Kernel<DecodeCombineArguments> kDecodeCombine{"attentionDecodeCombine"};

// ---------------------------------------------------------------------------- scalar

/// Keys of a split.
inline constexpr int kScalarSplitKeys = 256;
/// Query heads that are done at once.
inline constexpr int kScalarHeads = 8;

// ---------------------------------------------------------------------------- tensor cores

/// Keys that a warp takes of a split.
template <int kHeadDim>
inline constexpr int kWarpKeys = kHeadDim == 64 ? 64 : 32;

/// Rows of an mma: query heads that are done at once.
inline constexpr int kTensorHeads = 16;

}  // namespace wgqa::cuda
