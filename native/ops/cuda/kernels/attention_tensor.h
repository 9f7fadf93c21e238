// Arguments and tiles of the kernels in attention_tensor.cu.
#pragma once

#include "ops/cuda/kernels/attention_tile.h"
#include "ops/cuda/kernels/kernel.h"

namespace wgqa::cuda {

/// Heads of at most kHeadDim numbers. A block: kQueries queries of one head, 32 per warp.
template <int kHeadDim>
struct AttentionTensorTiles {
  static constexpr int kWarps = 4;
  static constexpr int kThreads = 32 * kWarps;
  static constexpr int kRowTiles = 2;
  static constexpr int kWarpQueries = 16 * kRowTiles;
  static constexpr int kQueries = kWarps * kWarpQueries;
  static constexpr int kKeys = 64;
  static constexpr int kStepKeys = 32;
  static constexpr int kStages = 2;

  // Offsets in shared memory.
  static constexpr int kTileBytes = kKeys * TileLayout<kHeadDim>::kRowBytes;
  static constexpr int kKeysAt = kQueries * TileLayout<kHeadDim>::kRowBytes;
  static constexpr int kValuesAt = kKeysAt + kStages * kTileBytes;
  static constexpr int kBiasAt = kValuesAt + kStages * kTileBytes;

  static constexpr std::int64_t sharedBytes(std::int64_t biasFloats) {
    return kBiasAt + biasFloats * 4;
  }
};

/// Block x: query head x % heads of tile x / heads. Rows are aligned to 16 bytes.
template <typename T>
struct AttentionTensorArguments {
  AttentionShapeArguments shape;
  const SequenceTile* tiles;  // of kQueries rows; those before a sequence's first query are none
  const T* q;                 // [queryTokens, heads, headDim]
  const T* k;                 // [keyTokens, kvHeads, headDim]
  const T* v;                 // [keyTokens, kvHeads, headDim]
  void* out;                  // [queryTokens, heads, headDim] float32 | T
  float* logSumExp;           // [queryTokens, heads], or null
  bool outIsFloat32;
};

template <typename T>
using AttentionTensorKernel = Kernel<AttentionTensorArguments<T>>;
inline constexpr AttentionTensorKernel<BFloat16Element> kAttentionTensor64{"attentionTensor<64>"};
inline constexpr AttentionTensorKernel<BFloat16Element> kAttentionTensor128{"attentionTensor<128>"};
inline constexpr AttentionTensorKernel<BFloat16Element> kAttentionTensorDropout64{
    "attentionTensor<64, dropout>"};
inline constexpr AttentionTensorKernel<BFloat16Element> kAttentionTensorDropout128{
    "attentionTensor<128, dropout>"};
// Without dropout: nothing is trained in float16.
inline constexpr AttentionTensorKernel<Float16Element> kAttentionTensorFloat16Of64{
    "attentionTensor<64, float16>"};
inline constexpr AttentionTensorKernel<Float16Element> kAttentionTensorFloat16Of128{
    "attentionTensor<128, float16>"};

}  // namespace wgqa::cuda
