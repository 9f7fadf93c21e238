#include "ops/cuda/attention_shape.h"

#include <algorithm>
#include <numeric>

namespace wgqa::cuda {

DropoutArguments dropoutArguments(const DropoutSpec& dropout) {
  DropoutArguments arguments{.roundKeys = {},
                             .stream = dropout.random.stream,
                             .threshold = dropout.threshold(),
                             .keptScale = 1.0f / (1.0f - dropout.rate)};
  auto key0 = static_cast<std::uint32_t>(dropout.random.seed);
  auto key1 = static_cast<std::uint32_t>(dropout.random.seed >> 32);
  static_assert(kPhiloxRoundCount == kPhiloxRounds);
  for (int round = 0; round < kPhiloxRoundCount; ++round) {
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
  const auto reach = static_cast<std::int32_t>(relativeBiasReach(bias, longest));
  const auto buckets = static_cast<std::int32_t>(bias.table.shape[0]);
  std::vector<std::int32_t> bucketOf(2 * static_cast<std::size_t>(reach) + 1);
  for (std::int32_t i = 0; i < std::ssize(bucketOf); ++i) {
    bucketOf[static_cast<std::size_t>(i)] =
        relativeBucket(i - reach, bias.bidirectional, buckets, bias.maxDistance);
  }
  return {.table = bias.table.as<float>(),
          .buckets = session.table(std::span<const std::int32_t>(bucketOf)),
          .reach = reach,
          .heads = static_cast<std::int32_t>(bias.table.shape[1]),
          .bucketCount = buckets};
}

std::int64_t longestDistance(const AttentionShape& shape) {
  std::int64_t longest = 0;
  for (std::int64_t i = 0; i < shape.queries.sequences(); ++i) {
    longest = std::max({longest, shape.keys.length(i), shape.queries.length(i)});
  }
  return longest;
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
