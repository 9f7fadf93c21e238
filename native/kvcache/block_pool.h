// A pool of cache blocks, known by number: which are free, and how often the others are referenced.
#pragma once

#include <cstdint>
#include <vector>

namespace wgqa {

/// What a block of a cache holds.
struct BlockShape {
  std::int64_t layers = 0;
  std::int64_t kvHeads = 0;
  std::int64_t blockTokens = 0;
  std::int64_t headDim = 0;
  std::int64_t elementBytes = 0;

  /// Keys (or values) of one layer.
  std::int64_t bytesPerLayerSide() const { return kvHeads * blockTokens * headDim * elementBytes; }
  /// Keys and values of all layers.
  std::int64_t bytes() const { return 2 * layers * bytesPerLayerSide(); }
};

/// Hands out block ids in [0, capacity). A block is free, or in use with at least one reference.
/// Ids that were handed out before are preferred to untouched ones, so that the memory behind the
/// blocks stays as small as the largest number of blocks that were ever in use together.
class BlockPool {
 public:
  explicit BlockPool(std::int64_t capacity);

  /// A free block with one reference. Throws ErrorCode::internal when none is free: admission
  /// counts blocks before work starts.
  std::int32_t allocate();
  void retain(std::int32_t block);
  /// Drops one reference; the last one frees the block.
  void release(std::int32_t block);

  std::int64_t capacity() const { return capacity_; }
  std::int64_t inUse() const { return inUse_; }
  std::int64_t free() const { return capacity_ - inUse_; }
  std::int32_t references(std::int32_t block) const { return references_[block]; }

  /// Blocks whose memory may have been written: those in use and those kept for reuse.
  std::int64_t touched() const { return inUse_ + static_cast<std::int64_t>(kept_.size()); }
  /// Takes the free blocks whose memory may have been written. They count as untouched from now on:
  /// the caller gives their memory back.
  std::vector<std::int32_t> forgetFree();

  /// Throws ErrorCode::internal unless every block is either free, once, or referenced.
  void checkInvariant() const;

 private:
  std::int64_t capacity_;
  std::int64_t inUse_ = 0;
  std::vector<std::int32_t> references_;  // of each id below the first one never handed out
  std::vector<std::int32_t> kept_;        // free, memory may be written
  std::vector<std::int32_t> untouched_;   // free, memory given back
};

}  // namespace wgqa
