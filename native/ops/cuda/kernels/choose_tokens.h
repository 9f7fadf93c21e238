// Arguments of the kernel in choose_tokens.cu.
#pragma once

#include "ops/cuda/kernels/kernel.h"
#include "ops/row_choice.h"

namespace wgqa::cuda {

inline constexpr int kChooseThreads = 512;
inline constexpr int kChooseBuckets = 16;  // one for each warp to add up
inline constexpr int kChooseListed = 1024;

/// A token and its score in one number: of two tokens the better one has the smaller.
using RankedToken = std::uint64_t;

/// What fell into a bucket of scores.
struct alignas(8) BucketSum {
  float mass;
  std::int32_t tokens;
};

/// Shared memory of a block.
struct ChooseShared {
  BucketSum columns[kChooseBuckets][kChooseThreads];  // each thread's own
  RankedToken list[kChooseListed];
  double masses[kChooseBuckets];  // of whole buckets
  std::int32_t tokens[kChooseBuckets];
  double ranges[kChooseBuckets];  // masses of the warps' parts of the row
  RankedToken least[32];          // of reductions over the block
  double sums[32];
  std::int32_t counts[32];
  std::int32_t listed;
  std::int32_t found;
};

/// A block per choice.
struct ChooseTokensArguments {
  const float* logits;       // [rows, logitsStride]
  const RowChoice* choices;  // [choices]
  const double* uniforms;    // what the choices' ranges name
  const std::int32_t* tokens;
  ChosenToken* chosen;
  float* scores;       // [choices, scoresStride] processed; null if no choice changes any
  float* ranks;        // [choices, scoresStride] of candidates, where they are not the scores
  RankedToken* lists;  // [choices, listLength], of choices that take more than kChooseListed
  std::int64_t logitsStride;
  std::int64_t scoresStride;  // a multiple of 4
  std::int64_t listLength;    // a power of two
  std::int32_t vocab;
};

inline constexpr Kernel<ChooseTokensArguments> kChooseTokens{"chooseTokens"};

}  // namespace wgqa::cuda
