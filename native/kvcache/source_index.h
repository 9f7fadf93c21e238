// Sources whose cross-attention K/V are in the cache, by their tokens: encoded once, read by every
// request, beam and sample of the same source.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "kvcache/block_table.h"
#include "kvcache/prefix_index.h"
#include "kvcache/use_clock.h"

namespace wgqa {

class SourceIndex;

/// A source in the cache. It stays while somebody uses it, and after that until it is evicted.
struct CachedSource {
  PrefixNode root;                // of the sequences decoded from it
  std::vector<std::int32_t> ids;  // its tokens
  BlockTable table;               // their K/V, ids.size() tokens
  bool isReady = false;           // the K/V have been written
};

/// One user's hold on a source; drops it when it goes. Empty after a move.
class SourceUse {
 public:
  SourceUse() = default;
  ~SourceUse() { reset(); }
  SourceUse(SourceUse&& other) noexcept;
  SourceUse& operator=(SourceUse&& other) noexcept;
  SourceUse(const SourceUse&) = delete;
  SourceUse& operator=(const SourceUse&) = delete;

  explicit operator bool() const { return source_ != nullptr; }
  CachedSource& operator*() const { return *source_; }
  CachedSource* operator->() const { return source_; }
  void reset();

 private:
  friend class SourceIndex;
  SourceUse(SourceIndex& index, CachedSource& source) : index_(&index), source_(&source) {}
  SourceIndex* index_ = nullptr;
  CachedSource* source_ = nullptr;
};

/// Keys are compared in full. A source that is not ready when its last user leaves is removed at
/// once; a ready one is kept, idle, until evicted, the longest idle first.
class SourceIndex {
 public:
  SourceIndex(BlockPool& pool, std::int64_t blockTokens, UseClock& clock);
  ~SourceIndex();
  SourceIndex(const SourceIndex&) = delete;
  SourceIndex& operator=(const SourceIndex&) = delete;

  /// A use of the source with these tokens, ready or about to be; empty if there is none.
  SourceUse find(std::span<const std::int32_t> ids);
  /// A use of a new source, not ready, whose table holds blocks for all its tokens. The caller has
  /// made room. Throws ErrorCode::internal if the source is known.
  SourceUse add(std::span<const std::int32_t> ids);

  std::int64_t idleBlocks() const;
  bool hasIdle() const;
  /// When the source that is idle longest was last used; only if there is one.
  std::uint64_t oldestIdleUse() const;
  /// Frees the source that is idle longest. False if none is idle.
  bool evictOldest();
  /// Forgets all sources: idle ones are freed, the others once their users leave. A later find()
  /// does not see them.
  void clear();

  /// Adds the table of every source to `tables`.
  void collectTables(std::vector<const BlockTable*>& tables) const;
};

}  // namespace wgqa
