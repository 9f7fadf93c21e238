// How attention is cut into tasks and tiles: pure functions of the problem, never of the number of
// threads or of timing, so that results are the same on any machine of one instruction set.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "ops/cpu/scratch.h"
#include "ops/ops.h"

namespace wgqa::cpu {

/// A score tile: kTileRows (query, head) pairs, a multiple of the micro-kernel's 6 rows, by
/// kTileKeys keys. With the packed keys and values of a tile it stays in the first two caches.
inline constexpr int kTileRows = 48;
inline constexpr int kTileKeys = 64;

/// Keys of one decode task; longer sequences are split and combined.
inline constexpr int kDecodeChunkKeys = 512;

/// The query heads [first, first + count) that read one K/V head.
struct HeadGroup {
  int first = 0;
  int count = 0;
};

HeadGroup groupOf(std::span<const std::int32_t> kvHeadOf, int kvHead);

/// Some queries of one sequence for one K/V head: a task of prefill or of its backward pass. Its
/// rows are (query, head of the group) pairs, heads fastest.
struct QueryChunk {
  int sequence = 0;
  int kvHead = 0;
  HeadGroup group;
  int firstQuery = 0;  // in its sequence
  int queries = 0;
  int index = 0;  // among the chunks of its sequence and K/V head
  int siblings = 1;
  std::int64_t partial = 0;  // index of this chunk's first key row in the backward's partial sums

  int rows() const { return queries * group.count; }
};

/// The chunks of a whole problem, in scratch.
struct QueryChunks {
  std::span<const QueryChunk> chunks;
  int maxRows = 0;
  int maxQueries = 0;
  std::int64_t partialRows = 0;  // key rows of all partial sums
};

/// At least a few tiles of rows per task, so that packing a key tile pays.
QueryChunks prefillChunks(const AttentionShape& shape, int kvHeads, Scratch& scratch,
                          SharedScratch slot);

/// Every (sequence, K/V head) has at least one chunk, if only to zero its gradients, and has
/// several when there are few of them; these then produce partial sums of gradK and gradV.
QueryChunks backwardChunks(const AttentionShape& shape, int kvHeads, Scratch& scratch,
                           SharedScratch slot);

/// Sequences that read the same blocks are decoded together, so many at most.
inline constexpr int kMostSharing = 8;

/// Some keys for some K/V heads, of a sequence and of those behind it that hold the same keys in
/// the same blocks (beams and samples of one source): a task of decode.
struct DecodeChunk {
  int sequence = 0;
  int sequences = 1;
  int firstKvHead = 0;
  int kvHeads = 0;
  int firstKey = 0;
  int keys = 0;
  int index = 0;  // among the key chunks of its sequence
  int siblings = 1;
  std::int64_t partial = 0;  // index of its first partial state, if it has siblings
};

struct DecodeChunks {
  std::span<const DecodeChunk> chunks;
  std::span<const HeadGroup> groups;  // [kvHeads] the query heads of each
  int mostSequences = 1;              // of a chunk
  std::int64_t partials = 0;          // partial states of all chunks that have siblings
  std::int64_t rows = 0;              // (key, K/V head) pairs that are read
};

/// Chunks of kDecodeChunkKeys keys: how a sequence is cut depends on its own length alone. Heads
/// are kept together, for they lie together in a block, until that leaves fewer than a few chunks
/// for each of `threads`; how they are divided does not change a result.
DecodeChunks decodeChunks(const AttentionDecode& p, int threads, Scratch& scratch,
                          SharedScratch chunkSlot, SharedScratch groupSlot);

/// What a query of one sequence may see.
class Visibility {
 public:
  Visibility(const AttentionShape& shape, int sequence)
      : causal_(shape.causal),
        keys_(static_cast<int>(shape.keys.length(sequence))),
        offset_(static_cast<int>(shape.firstPosition(sequence))) {}

  int keys() const { return keys_; }
  int position(int query) const { return query + offset_; }
  /// The query sees keys [0, count).
  int count(int query) const { return causal_ ? std::clamp(position(query) + 1, 0, keys_) : keys_; }

 private:
  bool causal_;
  int keys_;
  int offset_;
};

/// Walks the rows of a chunk without divisions.
class RowCursor {
 public:
  RowCursor(const QueryChunk& chunk, int row)
      : group_(chunk.group),
        query_(chunk.firstQuery + row / chunk.group.count),
        member_(row % chunk.group.count) {}

  int query() const { return query_; }
  int head() const { return group_.first + member_; }
  int member() const { return member_; }
  void next() {
    if (++member_ == group_.count) {
      member_ = 0;
      ++query_;
    }
  }

 private:
  HeadGroup group_;
  int query_;
  int member_;
};

/// The bucket of every distance that can occur, in scratch.
class BucketTable {
 public:
  BucketTable() = default;
  /// For |key - query| up to `reach` at least; what is further shares the last bucket.
  BucketTable(const RelativeBias& bias, std::int64_t reach, Scratch& scratch, SharedScratch slot);

  int operator[](std::int64_t relativePosition) const {
    return table_[std::clamp<std::int64_t>(relativePosition, -reach_, reach_) + reach_];
  }
  std::int64_t reach() const { return reach_; }

 private:
  const std::int32_t* table_ = nullptr;
  std::int64_t reach_ = 0;
};

/// The relative bias laid out by distance, so that a row of scores adds a contiguous run of it.
class DistanceBias {
 public:
  DistanceBias() = default;
  /// For sequences of at most `maxKeys` keys, of which at most `maxSpan` from the first query on.
  DistanceBias(const RelativeBias& bias, const BucketTable& buckets, std::int64_t maxKeys,
               std::int64_t maxSpan, Scratch& scratch, SharedScratch slot);

  /// The bias of keys firstKey, firstKey + 1, ... for a query at `position`; null if there is none.
  /// kTileKeys floats may be read.
  const float* at(int head, std::int64_t firstKey, std::int64_t position) const {
    return values_ == nullptr ? nullptr : values_ + head * width_ + firstKey - position - lowest_;
  }

 private:
  const float* values_ = nullptr;
  std::int64_t width_ = 0;
  std::int64_t lowest_ = 0;
};

std::int64_t maxLength(const RaggedOffsets& offsets);

/// The most keys of a sequence from the position of its first query on: its queries, if they are
/// all there.
std::int64_t maxSpan(const AttentionShape& shape);

}  // namespace wgqa::cpu
