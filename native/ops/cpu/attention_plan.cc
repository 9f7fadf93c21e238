#include "ops/cpu/attention_plan.h"

namespace wgqa::cpu {
namespace {

// Rows per prefill task: enough that transposing a key tile is small beside the products with it.
constexpr int kPrefillChunkRows = 4 * kTileRows;
// Rows per backward task. The upper limit bounds working memory, the lower one partial sums.
constexpr int kMinBackwardRows = 4 * kTileRows;
constexpr int kMaxBackwardRows = 2048;
// So many backward tasks keep the threads of any likely machine busy.
constexpr int kBackwardTasks = 32;

// So many decode tasks per thread even out their ends.
constexpr int kDecodeChunksPerThread = 4;

int ceilDivide(int numerator, int denominator) {
  return (numerator + denominator - 1) / denominator;
}

int queriesForRows(int rows, int groupHeads) { return std::max(1, rows / groupHeads); }

int backwardChunkQueries(int queries, int groupHeads, int tasks) {
  const int even = ceilDivide(queries, ceilDivide(kBackwardTasks, tasks));
  return std::clamp(even, queriesForRows(kMinBackwardRows, groupHeads),
                    queriesForRows(kMaxBackwardRows, groupHeads));
}

// Calls visit(sequence, kvHead, group, queries) for every pair of sequence and K/V head.
template <typename Visit>
void forEachGroup(const AttentionShape& shape, int kvHeads, const Visit& visit) {
  for (int sequence = 0; sequence < shape.queries.sequences(); ++sequence) {
    const int queries = static_cast<int>(shape.queries.length(sequence));
    for (int kvHead = 0; kvHead < kvHeads; ++kvHead) {
      visit(sequence, kvHead, groupOf(shape.kvHeadOf, kvHead), queries);
    }
  }
}

// Appends the chunks of one group; returns how many there are.
int appendChunks(const QueryChunk& whole, int chunkQueries, std::int64_t keys, QueryChunk* out,
                 QueryChunks& result) {
  const int count = std::max(1, ceilDivide(whole.queries, chunkQueries));
  for (int i = 0; i < count; ++i) {
    QueryChunk& chunk = out[i] = whole;
    chunk.firstQuery = i * chunkQueries;
    chunk.queries = std::min(chunkQueries, whole.queries - chunk.firstQuery);
    chunk.index = i;
    chunk.siblings = count;
    result.maxRows = std::max(result.maxRows, chunk.rows());
    result.maxQueries = std::max(result.maxQueries, chunk.queries);
    if (count > 1) {
      chunk.partial = result.partialRows;
      result.partialRows += keys;
    }
  }
  return count;
}

std::span<const std::int32_t> tableOf(const PagedKv& cache, int sequence) {
  const std::int32_t begin = cache.tableOffsets[sequence];
  return cache.blockTable.subspan(begin, cache.tableOffsets[sequence + 1] - begin);
}

// How many sequences from this one on hold the same keys.
int sharing(const PagedKv& cache, int sequence) {
  const auto isSame = [&](int other) {
    return cache.lengths[other] == cache.lengths[sequence] &&
           std::ranges::equal(tableOf(cache, other), tableOf(cache, sequence));
  };
  const int most = std::min(kMostSharing, static_cast<int>(cache.lengths.size()) - sequence);
  int count = 1;
  while (count < most && isSame(sequence + count)) ++count;
  return count;
}

}  // namespace

HeadGroup groupOf(std::span<const std::int32_t> kvHeadOf, int kvHead) {
  const auto [begin, end] = std::equal_range(kvHeadOf.begin(), kvHeadOf.end(), kvHead);
  return {static_cast<int>(begin - kvHeadOf.begin()), static_cast<int>(end - begin)};
}

QueryChunks prefillChunks(const AttentionShape& shape, int kvHeads, Scratch& scratch,
                          SharedScratch slot) {
  std::size_t capacity = 0;
  forEachGroup(shape, kvHeads, [&](int, int, HeadGroup group, int queries) {
    if (group.count == 0 || queries == 0) return;
    capacity += ceilDivide(queries, queriesForRows(kPrefillChunkRows, group.count));
  });
  auto* chunks = scratch.shared<QueryChunk>(slot, capacity);
  QueryChunks result;
  std::size_t count = 0;
  forEachGroup(shape, kvHeads, [&](int sequence, int kvHead, HeadGroup group, int queries) {
    if (group.count == 0 || queries == 0) return;
    const QueryChunk whole{
        .sequence = sequence, .kvHead = kvHead, .group = group, .queries = queries};
    count += appendChunks(whole, queriesForRows(kPrefillChunkRows, group.count), 0, chunks + count,
                          result);
  });
  result.chunks = {chunks, count};
  return result;
}

QueryChunks backwardChunks(const AttentionShape& shape, int kvHeads, Scratch& scratch,
                           SharedScratch slot) {
  const int tasks = static_cast<int>(shape.queries.sequences()) * kvHeads;
  const auto chunkQueries = [&](HeadGroup group, int queries) {
    return group.count == 0 ? std::max(1, queries)
                            : backwardChunkQueries(queries, group.count, tasks);
  };
  std::size_t capacity = 0;
  forEachGroup(shape, kvHeads, [&](int, int, HeadGroup group, int queries) {
    capacity += std::max(1, ceilDivide(queries, chunkQueries(group, queries)));
  });
  auto* chunks = scratch.shared<QueryChunk>(slot, capacity);
  QueryChunks result;
  std::size_t count = 0;
  forEachGroup(shape, kvHeads, [&](int sequence, int kvHead, HeadGroup group, int queries) {
    const QueryChunk whole{
        .sequence = sequence, .kvHead = kvHead, .group = group, .queries = queries};
    count += appendChunks(whole, chunkQueries(group, queries), shape.keys.length(sequence),
                          chunks + count, result);
  });
  result.chunks = {chunks, count};
  return result;
}

DecodeChunks decodeChunks(const AttentionDecode& p, int threads, Scratch& scratch,
                          SharedScratch chunkSlot, SharedScratch groupSlot) {
  const int kvHeads = static_cast<int>(p.cache.keys.shape[1]);
  const auto heads = static_cast<std::int64_t>(p.kvHeadOf.size());
  const int sequences = static_cast<int>(p.cache.lengths.size());
  int keyChunks = 0;
  for (int sequence = 0; sequence < sequences; sequence += sharing(p.cache, sequence)) {
    keyChunks += ceilDivide(p.cache.lengths[sequence], kDecodeChunkKeys);
  }
  const int parts = std::clamp(ceilDivide(kDecodeChunksPerThread * threads, keyChunks), 1, kvHeads);
  auto* groups = scratch.shared<HeadGroup>(groupSlot, kvHeads);
  for (int kvHead = 0; kvHead < kvHeads; ++kvHead) groups[kvHead] = groupOf(p.kvHeadOf, kvHead);
  auto* chunks =
      scratch.shared<DecodeChunk>(chunkSlot, static_cast<std::size_t>(keyChunks) * parts);
  DecodeChunks result;
  result.groups = {groups, static_cast<std::size_t>(kvHeads)};
  std::size_t count = 0;
  DecodeChunk chunk;
  for (; chunk.sequence < sequences; chunk.sequence += chunk.sequences) {
    const int length = p.cache.lengths[chunk.sequence];
    result.rows += std::int64_t{length} * kvHeads;
    chunk.sequences = sharing(p.cache, chunk.sequence);
    result.mostSequences = std::max(result.mostSequences, chunk.sequences);
    chunk.siblings = ceilDivide(length, kDecodeChunkKeys);
    for (chunk.index = 0; chunk.index < chunk.siblings; ++chunk.index) {
      chunk.firstKey = chunk.index * kDecodeChunkKeys;
      chunk.keys = std::min(kDecodeChunkKeys, length - chunk.firstKey);
      chunk.partial = result.partials;
      if (chunk.siblings > 1) result.partials += chunk.sequences * heads;
      for (int part = 0; part < parts; ++part) {
        chunk.firstKvHead = kvHeads * part / parts;
        chunk.kvHeads = kvHeads * (part + 1) / parts - chunk.firstKvHead;
        chunks[count++] = chunk;
      }
    }
  }
  result.chunks = {chunks, count};
  return result;
}

BucketTable::BucketTable(const RelativeBias& bias, std::int64_t reach, Scratch& scratch,
                         SharedScratch slot)
    : reach_(std::min<std::int64_t>(reach, bias.maxDistance)) {
  auto* table = scratch.shared<std::int32_t>(slot, static_cast<std::size_t>(2 * reach_ + 1));
  const auto buckets = static_cast<std::int32_t>(bias.table.shape[0]);
  for (std::int64_t distance = -reach_; distance <= reach_; ++distance) {
    table[distance + reach_] =
        relativeBucket(distance, bias.bidirectional, buckets, bias.maxDistance);
  }
  table_ = table;
}

DistanceBias::DistanceBias(const RelativeBias& bias, const BucketTable& buckets,
                           std::int64_t maxKeys, std::int64_t maxSpan, Scratch& scratch,
                           SharedScratch slot)
    : width_(maxKeys + maxSpan + kTileKeys), lowest_(1 - maxKeys) {
  const std::int64_t heads = bias.table.shape[1];
  auto* values = scratch.shared<float>(slot, static_cast<std::size_t>(heads * width_));
  const auto* table = bias.table.as<float>();
  const std::int64_t nearBegin = std::clamp<std::int64_t>(-buckets.reach() - lowest_, 0, width_);
  const std::int64_t nearEnd = std::clamp<std::int64_t>(buckets.reach() - lowest_ + 1, 0, width_);
  for (std::int64_t head = 0; head < heads; ++head) {
    float* row = values + head * width_;
    const auto valueOf = [&](std::int64_t distance) {
      return table[buckets[distance] * heads + head];
    };
    std::fill(row, row + nearBegin, valueOf(-buckets.reach()));
    for (std::int64_t i = nearBegin; i < nearEnd; ++i) row[i] = valueOf(lowest_ + i);
    std::fill(row + nearEnd, row + width_, valueOf(buckets.reach()));
  }
  values_ = values;
}

std::int64_t maxLength(const RaggedOffsets& offsets) {
  std::int64_t longest = 0;
  for (std::int64_t i = 0; i < offsets.sequences(); ++i) {
    longest = std::max(longest, offsets.length(i));
  }
  return longest;
}

std::int64_t maxSpan(const AttentionShape& shape) {
  std::int64_t longest = 0;
  for (std::int64_t i = 0; i < shape.keys.sequences(); ++i) {
    longest = std::max(longest, shape.keys.length(i) - shape.firstPosition(i));
  }
  return longest;
}

}  // namespace wgqa::cpu
