// What a case of attention is made of, shared by its rows of the table and the gradient tests.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ops/ops.h"
#include "test/ops_tensors.h"

namespace wgqa::test {

/// Query heads and the K/V head each reads.
struct HeadMap {
  std::vector<std::int32_t> kvHeadOf;  // [heads]

  std::int64_t heads() const { return static_cast<std::int64_t>(kvHeadOf.size()); }
  std::int64_t kvHeads() const { return kvHeadOf.back() + 1; }
};

/// Groups of equal size; kvHeads divides heads.
HeadMap equalGroups(std::int64_t heads, std::int64_t kvHeads);
/// Groups of random sizes.
HeadMap randomGroups(Random& random);

struct BiasSpec {
  std::int32_t buckets = 0;  // 0: no bias
  std::int32_t maxDistance = 128;
  bool bidirectional = false;
};

/// With maxDistance beyond the exact buckets, as relativeBucket() needs it; perhaps none.
BiasSpec randomBias(Random& random);

/// The bias of a case, its table an input named "biasTable".
RelativeBias makeBias(CaseTensors& tensors, const BiasSpec& spec, std::int64_t heads);

struct SequenceSpec {
  std::int32_t queries = 1;
  std::int32_t keys = 1;
};

/// As many queries as keys in each sequence: self-attention.
std::vector<SequenceSpec> selfSequences(std::initializer_list<std::int32_t> lengths);

/// Boundaries of a ragged batch of these lengths.
std::vector<std::int32_t> queryOffsets(const std::vector<SequenceSpec>& sequences);
std::vector<std::int32_t> keyOffsets(const std::vector<SequenceSpec>& sequences);

struct PrefillSpec {
  std::vector<SequenceSpec> sequences;
  HeadMap map;
  std::int64_t headDim = 8;
  bool causal = false;
  BiasSpec bias = {};
  float rate = 0.0f;
  float scale = 1.0f;
  DType out = DType::float32;
  DType input = DType::float32;    // of q, k and v
  DType gradOut = DType::float32;  // in the backward pass
  bool aligned = false;            // all tensors: see TensorSpec
  bool keepsLogSumExp = true;
  /// Integer q and k of this size, so that even large scores are exact in float32; 0: q and k
  /// such that scores have a deviation of about 2.
  std::int64_t integerLimit = 0;
  /// Where each sequence's first query stands; empty: the last one stands at the last key.
  std::vector<std::int32_t> firstPositions = {};
};

std::string nameOf(const PrefillSpec& spec);
PrefillSpec randomPrefill(Random& random);
/// The same with some of each sequence's queries only, from a place of their own.
PrefillSpec randomPartialPrefill(Random& random);

std::string nameOf(const HeadMap& map);
std::string nameOf(const BiasSpec& bias);

}  // namespace wgqa::test
