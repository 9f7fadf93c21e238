// Tiles of float32 attention for a head size.
#pragma once

#include <cstdint>

#include "ops/cuda/kernels/attention_float.h"

namespace wgqa::cuda {

struct FloatAttentionPlan {
  int variant = 0;               // of the kernels: the bound of the head size
  int threads = 0;               // of a block
  std::int64_t tileRows = 0;     // queries, and keys, of a tile
  std::int64_t headFloats = 0;   // of shared memory of a tile of rows of heads
  std::int64_t scoreFloats = 0;  // of a tile of scores
  std::int64_t parts = 0;        // blocks that share the components of a row

  std::int64_t sharedBytes(std::int64_t headTiles, std::int64_t scoreTiles,
                           const RelativeBiasArguments& bias) const {
    return static_cast<std::int64_t>(sizeof(float)) *
           (headTiles * headFloats + scoreTiles * scoreFloats + biasFloats(bias));
  }
};

/// headDim is at most 256.
FloatAttentionPlan planFloatAttention(std::int64_t headDim);

}  // namespace wgqa::cuda
