#include "ops/cuda/attention_shape.h"

#include <algorithm>
#include <numeric>

namespace wgqa::cuda {
namespace {

// No distance between a query and a key is larger.
std::int64_t longestDistance(const AttentionShape& shape) {
  std::int64_t longest = 0;
  for (std::int64_t i = 0; i < shape.queries.sequences(); ++i) {
    longest = std::max({longest, shape.keys.length(i), shape.queries.length(i)});
  }
  return longest;
}

// Buckets of the distances from -reach to reach.
struct BucketTable {
  bool bidirectional = false;
  std::int32_t count = 0;
  std::int64_t maxDistance = 0;
  std::int64_t longest = -1;
  std::int32_t reach = 0;
  std::vector<std::int32_t> ofDistance;

  BucketTable() = default;
  BucketTable(const RelativeBias& bias, std::int64_t longestDistance)
      : bidirectional(bias.bidirectional),
        count(static_cast<std::int32_t>(bias.table.shape[0])),
        maxDistance(bias.maxDistance),
        longest(longestDistance),
        reach(static_cast<std::int32_t>(relativeBiasReach(bias, longestDistance))) {
    for (std::int32_t distance = -reach; distance <= reach; ++distance) {
      ofDistance.push_back(relativeBucket(distance, bidirectional, count, maxDistance));
    }
  }
  bool isOf(const RelativeBias& bias, std::int64_t longestDistance) const {
    return bidirectional == bias.bidirectional && count == bias.table.shape[0] &&
           maxDistance == bias.maxDistance && longest == longestDistance;
  }
};

// All layers of a model, and all its decoding steps, ask for the same one.
const BucketTable& bucketTable(const RelativeBias& bias, std::int64_t longest) {
  thread_local BucketTable last;
  if (!last.isOf(bias, longest)) last = BucketTable(bias, longest);
  return last;
}

}  // namespace

DropoutArguments dropoutArguments(const DropoutSpec& dropout) {
  DropoutArguments arguments{.roundKeys = {},
                             .stream = dropout.random.stream,
                             .threshold = dropout.threshold(),
                             .keptScale = 1.0f / (1.0f - dropout.rate)};
  auto key0 = static_cast<std::uint32_t>(dropout.random.seed);
  auto key1 = static_cast<std::uint32_t>(dropout.random.seed >> 32);
  for (int round = 0; round < kPhiloxRounds; ++round) {
    arguments.roundKeys[2 * round] = key0;
    arguments.roundKeys[2 * round + 1] = key1;
    key0 += kPhiloxWeyl0;
    key1 += kPhiloxWeyl1;
  }
  return arguments;
}

// Buckets grow with the distance, and from maxDistance on there is one to either side.
std::int64_t relativeBiasReach(const RelativeBias& bias, std::int64_t longest) {
  const auto buckets = static_cast<std::int32_t>(bias.table.shape[0]);
  const auto bucketOf = [&](std::int64_t distance) {
    return relativeBucket(distance, bias.bidirectional, buckets, bias.maxDistance);
  };
  const std::int32_t before = bucketOf(-bias.maxDistance);
  const std::int32_t after = bucketOf(bias.maxDistance);
  std::int64_t low = 0;
  std::int64_t high = bias.maxDistance;
  while (low < high) {
    const std::int64_t middle = (low + high) / 2;
    const bool isBeyond = bucketOf(-middle) == before && bucketOf(middle) == after;
    (isBeyond ? high : low) = isBeyond ? middle : middle + 1;
  }
  return std::min(high, longest);
}

RelativeBiasArguments relativeBiasArguments(const RelativeBias& bias, std::int64_t longest,
                                            Session& session) {
  if (!bias.given()) return {};
  const BucketTable& buckets = bucketTable(bias, longest);
  return {.table = bias.table.as<float>(),
          .buckets = session.table(std::span<const std::int32_t>(buckets.ofDistance)),
          .reach = buckets.reach,
          .heads = static_cast<std::int32_t>(bias.table.shape[1]),
          .bucketCount = buckets.count};
}

AttentionShapeArguments attentionShapeArguments(const AttentionShape& shape, std::int64_t kvHeads,
                                                std::int64_t headDim, Session& session) {
  const std::int64_t sequences = shape.queries.sequences();
  std::vector<std::int32_t> firstPositions(static_cast<std::size_t>(sequences));
  for (std::int64_t i = 0; i < sequences; ++i) {
    firstPositions[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(shape.firstPosition(i));
  }
  return {.queryOffsets = session.table(shape.queries.offsets),
          .keyOffsets = session.table(shape.keys.offsets),
          .firstPositions = session.table(std::span<const std::int32_t>(firstPositions)),
          .kvHeadOf = session.table(shape.kvHeadOf),
          .heads = static_cast<std::int32_t>(shape.kvHeadOf.size()),
          .kvHeads = static_cast<std::int32_t>(kvHeads),
          .headDim = static_cast<std::int32_t>(headDim),
          .scale = shape.scale,
          .causal = shape.causal,
          .bias = relativeBiasArguments(shape.bias, longestDistance(shape), session),
          .dropout = dropoutArguments(shape.dropout)};
}

std::vector<SequenceTile> sequenceTiles(const RaggedOffsets& sequences, std::int64_t rows) {
  std::vector<std::int32_t> order(static_cast<std::size_t>(sequences.sequences()));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    return sequences.length(a) > sequences.length(b);
  });
  std::vector<SequenceTile> tiles;
  for (const std::int32_t sequence : order) {
    for (std::int64_t first = 0; first < sequences.length(sequence); first += rows) {
      tiles.push_back({sequence, static_cast<std::int32_t>(first)});
    }
  }
  return tiles;
}

}  // namespace wgqa::cuda
