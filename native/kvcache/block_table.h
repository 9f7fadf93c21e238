// The blocks that hold one sequence's keys and values, in order.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "kvcache/block_pool.h"
#include "kvcache/prefix_index.h"

namespace wgqa {

/// The contents of `source` have to be copied to `destination` before either is written.
struct BlockCopy {
  std::int32_t source;
  std::int32_t destination;
};

/// Where one more token goes: slot = block * blockTokens + place in the block.
struct AppendedSlot {
  std::int64_t slot;
  std::optional<BlockCopy> copy;
};

/// Holds one reference to each of its blocks and drops them when it goes. Full blocks are never
/// written again, so tables share them freely; a partly filled block is copied before one of the
/// tables that share it appends (copy-on-write).
class BlockTable {
 public:
  BlockTable(BlockPool& pool, std::int64_t blockTokens) : pool_(&pool), blockTokens_(blockTokens) {}
  ~BlockTable() { clear(); }
  BlockTable(BlockTable&& other) noexcept;
  BlockTable& operator=(BlockTable&& other) noexcept;
  BlockTable(const BlockTable&) = delete;
  BlockTable& operator=(const BlockTable&) = delete;

  /// Blocks that appending `tokens` tokens will allocate, copies included.
  std::int64_t blocksToAppend(std::int64_t tokens) const;
  AppendedSlot append();
  /// Becomes a second holder of the parent's tokens, and of what the index knows of them; what it
  /// held before is dropped.
  void shareFrom(const BlockTable& parent);
  /// As above, of the parent's full blocks within its first `tokens` tokens. If the index knows
  /// more of the parent than these, this table's chain begins anew.
  void sharePrefixFrom(const BlockTable& parent, std::int64_t tokens);
  /// Becomes a holder of blocks that an index found; what it held before is dropped.
  void adopt(const PrefixIndex::Match& match);
  void clear();

  std::span<const std::int32_t> blocks() const { return blocks_; }
  std::int64_t length() const { return length_; }
  /// What PrefixIndex::learn() has been told of the table; set the root before the first call.
  PrefixChain& chain() { return chain_; }

 private:
  bool sharesLastBlock() const;
  void take(std::span<const std::int32_t> blocks, const PrefixChain& chain);

  BlockPool* pool_;
  std::int64_t blockTokens_;
  std::int64_t length_ = 0;
  std::vector<std::int32_t> blocks_;
  PrefixChain chain_;
};

/// Throws ErrorCode::internal unless the pool is sound and `tables` are exactly its references.
void checkInvariant(const BlockPool& pool, std::span<const BlockTable* const> tables);

}  // namespace wgqa
