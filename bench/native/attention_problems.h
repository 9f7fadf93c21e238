// Inputs of the attention operations that benchmarks run, in the memory of any backend.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/buffer.h"
#include "ops/ops.h"

namespace wgqa::bench {

/// Query head -> K/V head, for groups of equal size.
std::vector<std::int32_t> equalGroups(int heads, int kvHeads);

/// "MHA", "GQA-4", "MQA".
std::string groupName(int heads, int kvHeads);

struct DecodeShape {
  int sequences = 8;
  int tokens = 4096;  // that each sequence holds
  int heads = 12;
  int kvHeads = 12;
  int headDim = 64;
  int blockTokens = 16;
  DType queryType = DType::float32;
  DType cacheType = DType::float32;
  bool isShuffled = false;  // blocks in random order, instead of one after the other
};

/// Decode over a cache whose blocks lie as the engine has them, a block's values behind its keys.
class DecodeProblem {
 public:
  DecodeProblem(Ops& ops, const DecodeShape& shape);

  /// Of keys and values, scales included.
  double bytes() const { return static_cast<double>(memory_.bytes()); }
  const AttentionDecode& params() const { return params_; }

 private:
  std::vector<std::int32_t> kvHeadOf_;
  Buffer memory_, q_, table_, out_;
  std::vector<std::int32_t> blockTable_, tableOffsets_, lengths_;
  AttentionDecode params_;
};

struct PrefillShape {
  int sequences = 4;
  int tokens = 512;
  int heads = 12;
  int kvHeads = 12;
  int headDim = 64;
  DType dtype = DType::float32;  // of q, k, v, the output and the gradients of q, k, v
  float dropoutRate = 0.0f;
};

/// Encoder self-attention with T5's bias, forward and backward.
class PrefillProblem {
 public:
  PrefillProblem(Ops& ops, const PrefillShape& shape);

  /// Floating point operations of one of the products of forward (2) and backward (5).
  double productWork() const { return productWork_; }
  const AttentionPrefill& forward() const { return forward_; }
  const AttentionPrefillBackward& backward() const { return backward_; }

 private:
  std::vector<std::int32_t> kvHeadOf_, offsets_;
  std::vector<Buffer> memory_;
  double productWork_;
  AttentionPrefill forward_;
  AttentionPrefillBackward backward_;
};

}  // namespace wgqa::bench
