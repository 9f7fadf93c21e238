// How attention is cut into tasks: every row exactly once, in a way that depends on the problem
// only.
#include <algorithm>
#include <cstdint>
#include <vector>

#include "ops/cpu/attention_plan.h"
#include "test/harness.h"

namespace wgqa::test {
namespace {

using namespace wgqa::cpu;

const std::vector<std::int32_t> kUnequalGroups = {0, 0, 0, 1, 3, 3};  // none reads head 2
constexpr int kKvHeads = 4;

AttentionShape shapeOf(const std::vector<std::int32_t>& queries,
                       const std::vector<std::int32_t>& keys) {
  AttentionShape shape;
  shape.queries = {queries};
  shape.keys = {keys};
  shape.kvHeadOf = kUnequalGroups;
  return shape;
}

// Checks that the chunks hold every (query, head) pair of the shape exactly once.
void checkCoverage(const AttentionShape& shape, const QueryChunks& chunks) {
  const auto heads = static_cast<std::int64_t>(shape.kvHeadOf.size());
  std::vector<int> seen(static_cast<std::size_t>(shape.queries.tokens() * heads), 0);
  for (const QueryChunk& chunk : chunks.chunks) {
    CHECK(chunk.rows() <= chunks.maxRows);
    CHECK(chunk.queries <= chunks.maxQueries);
    if (chunk.rows() == 0) continue;
    RowCursor cursor(chunk, 0);
    for (int row = 0; row < chunk.rows(); ++row, cursor.next()) {
      const std::int64_t token = shape.queries.offsets[chunk.sequence] + cursor.query();
      CHECK_EQUAL(shape.kvHeadOf[cursor.head()], chunk.kvHead);
      ++seen[static_cast<std::size_t>(token * heads + cursor.head())];
    }
  }
  CHECK(std::ranges::all_of(seen, [](int count) { return count == 1; }));
}

WGQA_TEST(attentionGroupsMayBeUnequalOrEmpty) {
  CHECK_EQUAL(groupOf(kUnequalGroups, 0).first, 0);
  CHECK_EQUAL(groupOf(kUnequalGroups, 0).count, 3);
  CHECK_EQUAL(groupOf(kUnequalGroups, 2).count, 0);
  CHECK_EQUAL(groupOf(kUnequalGroups, 3).first, 4);
}

WGQA_TEST(attentionChunksCoverEveryRowOnce) {
  const std::vector<std::int32_t> queries = {0, 700, 700, 701};
  const std::vector<std::int32_t> keys = {0, 700, 730, 731};
  const AttentionShape shape = shapeOf(queries, keys);
  Scratch scratch;
  checkCoverage(shape, prefillChunks(shape, kKvHeads, scratch, SharedScratch::first));
  checkCoverage(shape, backwardChunks(shape, kKvHeads, scratch, SharedScratch::first));
}

WGQA_TEST(attentionBackwardPartialsDoNotOverlap) {
  const std::vector<std::int32_t> offsets = {0, 900, 1000};
  const AttentionShape shape = shapeOf(offsets, offsets);
  Scratch scratch;
  const QueryChunks plan = backwardChunks(shape, kKvHeads, scratch, SharedScratch::first);
  std::vector<int> used(static_cast<std::size_t>(plan.partialRows), 0);
  for (const QueryChunk& chunk : plan.chunks) {
    if (chunk.siblings == 1) continue;
    const auto begin = used.begin() + chunk.partial;
    std::for_each(begin, begin + shape.keys.length(chunk.sequence), [](int& uses) { ++uses; });
  }
  CHECK(!used.empty());
  CHECK(std::ranges::all_of(used, [](int uses) { return uses == 1; }));
}

WGQA_TEST(attentionDecodeChunksDependOnTheOwnLengthOnly) {
  constexpr std::int32_t kLong = 3 * kDecodeChunkKeys + 1;
  const std::vector<std::int32_t> alone = {kLong};
  const std::vector<std::int32_t> together = {1, kLong, kDecodeChunkKeys};
  AttentionDecode p;
  p.cache.keys.shape = {1, kKvHeads, 16, 8};
  p.kvHeadOf = kUnequalGroups;
  // The key ranges that a K/V head of a sequence is cut into.
  const auto cutsOf = [&](const std::vector<std::int32_t>& lengths, int sequence, int threads) {
    Scratch scratch;
    p.cache.lengths = lengths;
    std::vector<std::vector<int>> result;
    const DecodeChunks plan =
        decodeChunks(p, threads, scratch, SharedScratch::first, SharedScratch::second);
    for (int kvHead = 0; kvHead < kKvHeads; ++kvHead) {
      for (const DecodeChunk& chunk : plan.chunks) {
        const int place = kvHead - chunk.firstKvHead;
        if (chunk.sequence != sequence || place < 0 || place >= chunk.kvHeads) continue;
        result.push_back({kvHead, chunk.firstKey, chunk.keys, chunk.index, chunk.siblings});
      }
    }
    return result;
  };
  CHECK_EQUAL(cutsOf(alone, 0, 1).size(), 4u * kKvHeads);
  CHECK(cutsOf(alone, 0, 1) == cutsOf(alone, 0, 64));
  CHECK(cutsOf(alone, 0, 1) == cutsOf(together, 1, 3));
}

WGQA_TEST(attentionDecodeChunksHoldSequencesOfTheSameBlocks) {
  const std::vector<std::int32_t> lengths = {20, 20, 20, 17, 17, 20};
  const std::vector<std::int32_t> table = {0, 1, 0, 1, 0, 2, 0, 2, 0, 2, 0, 2};
  const std::vector<std::int32_t> offsets = {0, 2, 4, 6, 8, 10, 12};
  AttentionDecode p;
  p.cache = {.blockTable = table, .tableOffsets = offsets, .lengths = lengths};
  p.cache.keys.shape = {3, kKvHeads, 16, 8};
  p.kvHeadOf = kUnequalGroups;
  Scratch scratch;
  const auto plan = decodeChunks(p, 1, scratch, SharedScratch::first, SharedScratch::second);
  std::vector<std::vector<int>> firstHeads;
  for (const DecodeChunk& chunk : plan.chunks) {
    if (chunk.firstKvHead == 0) firstHeads.push_back({chunk.sequence, chunk.sequences});
  }
  CHECK(firstHeads == (std::vector<std::vector<int>>{{0, 2}, {2, 1}, {3, 2}, {5, 1}}));
  CHECK_EQUAL(plan.mostSequences, 2);
}

WGQA_TEST(attentionBiasByDistanceIsTheTablesBucket) {
  constexpr std::int64_t kHeads = 2;
  constexpr std::int32_t kBuckets = 8;
  std::vector<float> table(kBuckets * kHeads);
  for (std::size_t i = 0; i < table.size(); ++i) table[i] = static_cast<float>(i);
  RelativeBias bias{{table.data(), DType::float32, {kBuckets, kHeads}}, true, 20};
  constexpr std::int64_t kKeys = 50;
  constexpr std::int64_t kQueries = 30;
  Scratch scratch;
  const BucketTable buckets(bias, kKeys, scratch, SharedScratch::second);
  const DistanceBias rows(bias, buckets, kKeys, kQueries, scratch, SharedScratch::third);
  for (std::int64_t position = kKeys - kQueries; position < kKeys; ++position) {
    for (std::int64_t key = 0; key < kKeys; ++key) {
      const std::int32_t bucket = relativeBucket(key - position, true, kBuckets, 20);
      for (int head = 0; head < kHeads; ++head) {
        CHECK_EQUAL(rows.at(head, key, position)[0], table[bucket * kHeads + head]);
      }
    }
  }
}

}  // namespace
}  // namespace wgqa::test
