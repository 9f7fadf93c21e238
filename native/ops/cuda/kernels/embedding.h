// Arguments of the kernels in embedding.cu.
#pragma once

#include "ops/cuda/kernels/kernel.h"

namespace wgqa::cuda {

struct EmbeddingArguments {
  const std::int32_t* ids;  // [tokens]
  const void* table;        // [vocab, columns] of the kernel's type
  float* out;               // [tokens, columns]
  std::int64_t columns;
};

/// Tokens grouped by id, in their order: each block adds up the gradients of one id.
struct EmbeddingBackwardArguments {
  const std::int32_t* runs;    // [ids + 1] into tokens
  const std::int32_t* runIds;  // [ids]
  const std::int32_t* tokens;  // [tokens]
  const float* gradOut;        // [tokens, columns]
  float* gradTable;            // [vocab, columns], +=
  std::int64_t columns;
};

// Of float32, float16, bfloat16 tables.
inline constexpr Kernel<EmbeddingArguments> kEmbedding[] = {
    {"embedding<float32>"}, {"embedding<float16>"}, {"embedding<bfloat16>"}};
inline constexpr Kernel<EmbeddingBackwardArguments> kEmbeddingBackward{"embeddingBackward"};

}  // namespace wgqa::cuda
