// Arguments and tiles of the kernels in attention_hopper.cu.
#pragma once

#include "ops/cuda/kernels/attention_tile.h"
#include "ops/cuda/kernels/hopper_tile.h"
#include "ops/cuda/kernels/kernel.h"

namespace wgqa::cuda {

/// Heads of at most kHeadDim numbers. A block: kQueries queries of one head, 64 for each of the
/// warpgroups that multiply; one more copies.
template <int kHeadDim, bool kDropout>
struct AttentionHopperTiles {
  // As many as there are registers for.
  static constexpr int kMultipliers = kHeadDim == 64 && !kDropout ? 3 : 2;
  static constexpr int kThreads = kWarpgroupThreads * (1 + kMultipliers);
  static constexpr int kQueries = 64 * kMultipliers;
  static constexpr int kKeys = 128;
  static constexpr int kPieceKeys = 64;  // what bias, mask and dropout are asked for at a time
  static constexpr int kPieces = kKeys / kPieceKeys;
  static constexpr int kStages = kHeadDim == 64 ? 3 : 2;  // what shared memory has room for
  // All 65,536 of a multiprocessor.
  static constexpr int kCopierRegisters = kMultipliers == 3 ? 32 : 24;
  static constexpr int kMultiplierRegisters = kMultipliers == 3 ? 160 : 240;

  // Offsets in shared memory.
  using Queries = HopperTile<kQueries, kHeadDim>;
  using Keys = HopperTile<kKeys, kHeadDim>;
  static constexpr int kKeysAt = Queries::kBytes;
  static constexpr int kValuesAt = kKeysAt + kStages * Keys::kBytes;
  static constexpr int kBarriersAt = kValuesAt + kStages * Keys::kBytes;
  static constexpr int kBiasAt = kBarriersAt + 128;

  static constexpr std::int64_t sharedBytes(std::int64_t biasFloats) {
    return kBiasAt + biasFloats * 4;
  }
};

/// Block x: query head x % heads of tile x / heads.
struct AttentionHopperArguments {
  TensorMap q;  // [queryTokens, heads, headDim], boxes of kQueries tokens
  TensorMap k;  // [keyTokens, kvHeads, headDim], boxes of kKeys tokens
  TensorMap v;  // as k
  AttentionShapeArguments shape;
  const SequenceTile* tiles;  // of kQueries rows; those before a sequence's first query are none
  void* out;                  // [queryTokens, heads, headDim] float32 | q's type
  float* logSumExp;           // [queryTokens, heads], or null
  bool outIsFloat32;
};

using AttentionHopperKernel = Kernel<AttentionHopperArguments>;
inline constexpr AttentionHopperKernel kAttentionHopper64{"attentionHopper<64>"};
inline constexpr AttentionHopperKernel kAttentionHopper128{"attentionHopper<128>"};
inline constexpr AttentionHopperKernel kAttentionHopperDropout64{"attentionHopper<64, dropout>"};
inline constexpr AttentionHopperKernel kAttentionHopperDropout128{"attentionHopper<128, dropout>"};
inline constexpr AttentionHopperKernel kAttentionHopperFloat16Of64{"attentionHopper<64, float16>"};
inline constexpr AttentionHopperKernel kAttentionHopperFloat16Of128{
    "attentionHopper<128, float16>"};

}  // namespace wgqa::cuda
