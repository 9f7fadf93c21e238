// Sources whose cross-attention K/V are in the cache, by their tokens: encoded once, read by every
// request, beam and sample of the same source.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <unordered_set>
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
  SourceIndex(BlockPool& pool, std::int64_t blockTokens, UseClock& clock)
      : pool_(pool), blockTokens_(blockTokens), clock_(clock) {}
  SourceIndex(const SourceIndex&) = delete;
  SourceIndex& operator=(const SourceIndex&) = delete;

  /// A use of the source with these tokens, ready or about to be; empty if there is none.
  SourceUse find(std::span<const std::int32_t> ids);
  /// A use of a new source, not ready, whose table holds blocks for all its tokens. The caller has
  /// made room. Throws ErrorCode::internal if the source is known.
  SourceUse add(std::span<const std::int32_t> ids);

  std::int64_t idleBlocks() const { return idleBlocks_; }
  bool hasIdle() const { return !idle_.empty(); }
  /// When the source that is idle longest was last used; only if there is one.
  std::uint64_t oldestIdleUse() const;
  /// Frees the source that is idle longest. False if none is idle.
  bool evictOldest();
  /// Forgets all sources: idle ones are freed, the others once their users leave. A later find()
  /// does not see them.
  void clear();

  /// Adds the table of every source to `tables`.
  void collectTables(std::vector<const BlockTable*>& tables) const;
  /// Throws ErrorCode::internal unless the idle sources are those without users.
  void checkInvariant() const;

 private:
  friend class SourceUse;
  struct Entry : CachedSource {
    std::int64_t users = 0;
    std::uint64_t idleSince = 0;  // without users
    bool isForgotten = false;
  };
  using Ids = std::span<const std::int32_t>;
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(Ids ids) const;
    std::size_t operator()(const std::unique_ptr<Entry>& entry) const {
      return (*this)(entry->ids);
    }
  };
  struct Equal {
    using is_transparent = void;
    static Ids idsOf(Ids ids) { return ids; }
    static Ids idsOf(const std::unique_ptr<Entry>& entry) { return entry->ids; }
    template <typename A, typename B>
    bool operator()(const A& a, const B& b) const {
      return std::ranges::equal(idsOf(a), idsOf(b));
    }
  };

  SourceUse use(Entry& entry);
  void leave(CachedSource& source);
  void wake(Entry& entry);
  void remove(Entry& entry);

  BlockPool& pool_;
  std::int64_t blockTokens_;
  UseClock& clock_;
  std::uint64_t lastRoot_ = 0;
  std::unordered_set<std::unique_ptr<Entry>, Hash, Equal> entries_;
  std::vector<std::unique_ptr<Entry>> forgotten_;  // but in use
  std::map<std::uint64_t, Entry*> idle_;           // by idleSince
  std::int64_t idleBlocks_ = 0;
};

}  // namespace wgqa
