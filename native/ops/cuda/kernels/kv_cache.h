// Arguments of the kernels in kv_cache.cu.
#pragma once

#include <cstddef>

#include "ops/cuda/kernels/kernel.h"

namespace wgqa::cuda {

/// Tokens at most that a block of threads appends, for one K/V head and either keys or values.
inline constexpr int kMostAppendTokens = 32;

/// Where a token's key or value goes. A block's shared memory holds these, then the rows.
struct AppendSlot {
  std::int64_t block;
  std::int64_t place;
};

struct KvAppendArguments {
  const void* k;              // [tokens, kvHeads, headDim] of the kernel's input type
  const void* v;              // as k
  const std::int64_t* slots;  // [tokens]
  void* keys;                 // [blocks, kvHeads, headDim, blockTokens] of its cache type
  void* values;               // [blocks, kvHeads, blockTokens, headDim]
  float* keyScales;           // [blocks, kvHeads, blockTokens] of int8
  float* valueScales;         // as keyScales
  std::int64_t keyStride;     // elements from block to block
  std::int64_t valueStride;
  std::int64_t scaleStride;
  std::int64_t tokens;
  std::int32_t tileTokens;  // of a block of threads: a power of two
  std::int32_t rowStride;   // floats from row to row in shared memory
  std::int32_t kvHeads;
  std::int32_t headDim;
  std::int32_t blockTokens;
};

/// Blocks (x) of each layer (y).
struct CopyBlocksArguments {
  std::byte* blocks;
  const std::int32_t* sources;
  const std::int32_t* destinations;
  std::int64_t layerBytes;
  std::int64_t blockBytes;
};

// [input float32, float16, bfloat16][cache float32, float16, bfloat16, int8].
inline constexpr Kernel<KvAppendArguments> kKvAppend[3][4] = {{{"kvAppend<float32, float32>"},
                                                               {"kvAppend<float32, float16>"},
                                                               {"kvAppend<float32, bfloat16>"},
                                                               {"kvAppend<float32, int8>"}},
                                                              {{"kvAppend<float16, float32>"},
                                                               {"kvAppend<float16, float16>"},
                                                               {"kvAppend<float16, bfloat16>"},
                                                               {"kvAppend<float16, int8>"}},
                                                              {{"kvAppend<bfloat16, float32>"},
                                                               {"kvAppend<bfloat16, float16>"},
                                                               {"kvAppend<bfloat16, bfloat16>"},
                                                               {"kvAppend<bfloat16, int8>"}}};
inline constexpr Kernel<CopyBlocksArguments> kCopyBlocks{"copyBlocks"};

}  // namespace wgqa::cuda
