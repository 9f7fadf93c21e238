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

/// The places of one id's tokens, in their order, in a table of such groups.
struct TokenRun {
  std::int32_t id;
  std::int32_t begin;
  std::int32_t end;
};

/// Tokens grouped by id: each block adds up the gradients of one id.
struct EmbeddingBackwardArguments {
  const TokenRun* runs;        // [ids]
  const std::int32_t* tokens;  // [tokens]: where each is among all
  const float* gradOut;        // [tokens, columns]
  float* gradTable;            // [vocab, columns], +=
  std::int64_t columns;
};

// Of float32, float16, bfloat16 tables.
inline constexpr Kernel<EmbeddingArguments> kEmbedding[] = {
    {"embedding<float32>"}, {"embedding<float16>"}, {"embedding<bfloat16>"}};
// [rows aligned to their elements, to 16 bytes].
inline constexpr Kernel<EmbeddingBackwardArguments> kEmbeddingBackward[] = {
    {"embeddingBackward<elements>"}, {"embeddingBackward<vectors>"}};

}  // namespace wgqa::cuda
