// A pool of cache blocks, known by number: which are free, which are kept for later requests, and
// how often the others are referenced.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "kvcache/use_clock.h"

namespace wgqa {

/// What a block of a cache holds of one layer.
struct BlockShape {
  std::int64_t kvHeads = 0;
  std::int64_t blockTokens = 0;
  std::int64_t headDim = 0;
  std::int64_t elementBytes = 0;
  std::int64_t scaleBytes = 0;  // for each key, and each value, of a head

  /// Elements of the keys, or of the values.
  std::int64_t elementsPerSide() const { return kvHeads * blockTokens * headDim; }
  /// Keys, or values.
  std::int64_t bytesPerSide() const { return elementsPerSide() * elementBytes; }
  /// Scales of the keys, or of the values.
  std::int64_t scaleBytesPerSide() const { return kvHeads * blockTokens * scaleBytes; }
  /// Keys and values, with their scales.
  std::int64_t bytes() const { return 2 * (bytesPerSide() + scaleBytesPerSide()); }
};

/// Hands out block ids in [0, capacity). A block is free; referenced, at least once; or cached:
/// without references, but kept because an index knows what it holds. Ids that were handed out
/// before are preferred to untouched ones, so that the memory behind the blocks stays as small as
/// the largest number of blocks that were ever held together. Every operation but forgetFree() and
/// checkInvariant() takes constant time.
class BlockPool {
 public:
  /// `clock` orders cached blocks; it may be shared with other pools and must outlive this one.
  BlockPool(std::int64_t capacity, UseClock& clock);

  /// A free block with one reference. Throws ErrorCode::internal when none is free: callers make
  /// room before work starts.
  std::int32_t allocate();
  /// Adds a reference to a referenced or cached block.
  void retain(std::int32_t block);
  /// Drops one reference; with the last one the block becomes cached if it is kept, else free.
  void release(std::int32_t block);

  /// From now on the block outlives its references. Throws unless it is referenced and not kept.
  void keep(std::int32_t block);
  /// Undoes keep(); a cached block becomes free.
  void drop(std::int32_t block);
  bool isKept(std::int32_t block) const { return at(block).isKept; }
  std::int64_t kept() const { return kept_; }

  /// The cached block whose last reference went longest ago, -1 if none is cached.
  std::int32_t oldestCached() const { return oldest_; }
  /// When that was; only if there is one.
  std::uint64_t oldestCachedUse() const;

  std::int64_t capacity() const { return capacity_; }
  std::int64_t referenced() const { return referenced_; }
  std::int64_t cached() const { return cached_; }
  /// Referenced or cached.
  std::int64_t held() const { return referenced_ + cached_; }
  std::int64_t free() const { return capacity_ - held(); }
  std::int32_t references(std::int32_t block) const { return at(block).references; }

  /// Blocks that were untouched when they were allocated since the last call, in that order: their
  /// memory may not be there yet.
  std::vector<std::int32_t> takeNewlyTouched() { return std::exchange(newlyTouched_, {}); }
  /// Blocks whose memory may have been written: those held and the free ones kept for reuse.
  std::int64_t touched() const { return held() + static_cast<std::int64_t>(free_.size()); }
  /// Takes the free blocks whose memory may have been written. They count as untouched from now on:
  /// the caller gives their memory back.
  std::vector<std::int32_t> forgetFree();

  /// Throws ErrorCode::internal unless every block is free, once; or cached, once, and kept; or
  /// referenced; and all counts and the order of the cached blocks hold.
  void checkInvariant() const;

 private:
  static constexpr std::int32_t kNone = -1;
  struct Block {
    std::int32_t references = 0;
    bool isKept = false;
    // Of a cached block: its neighbours in the order of use, and when it came into it.
    std::int32_t older = kNone;
    std::int32_t newer = kNone;
    std::uint64_t since = 0;
  };

  Block& at(std::int32_t block) { return blocks_[static_cast<std::size_t>(block)]; }
  const Block& at(std::int32_t block) const { return blocks_[static_cast<std::size_t>(block)]; }
  bool isCached(std::int32_t block) const { return at(block).isKept && at(block).references == 0; }
  std::int32_t takeUntouched();
  void cache(std::int32_t block);
  void uncache(std::int32_t block);
  void checkFree(std::vector<bool>& isFree) const;
  void checkCached() const;

  std::int64_t capacity_;
  UseClock* clock_;
  std::int64_t referenced_ = 0;
  std::int64_t cached_ = 0;
  std::int64_t kept_ = 0;
  std::vector<Block> blocks_;            // those handed out so far
  std::vector<std::int32_t> free_;       // touched
  std::vector<std::int32_t> forgotten_;  // free, untouched again
  std::vector<std::int32_t> newlyTouched_;
  std::int32_t oldest_ = kNone;
  std::int32_t newest_ = kNone;
};

}  // namespace wgqa
