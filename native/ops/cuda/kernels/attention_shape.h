// AttentionShape as the kernels over whole sequences get it.
#pragma once

#include "ops/cuda/kernels/random.h"
#include "ops/cuda/kernels/relative_bias.h"

namespace wgqa::cuda {

/// Rows [first, first + tile size) of a sequence's queries, or of its keys, cut at its end.
struct SequenceTile {
  std::int32_t sequence;
  std::int32_t first;
};

struct AttentionShapeArguments {
  const std::int32_t* queryOffsets;    // [sequences + 1]
  const std::int32_t* keyOffsets;      // [sequences + 1]
  const std::int32_t* firstPositions;  // [sequences]
  const std::int32_t* kvHeadOf;        // [heads]
  std::int32_t heads;
  std::int32_t kvHeads;
  std::int32_t headDim;
  float scale;
  bool causal;
  RelativeBiasArguments bias;
  DropoutArguments
      dropout;  // row = queryToken * heads + head, column = key's place in its sequence
};

}  // namespace wgqa::cuda
