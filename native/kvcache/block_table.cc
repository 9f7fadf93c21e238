#include "kvcache/block_table.h"

#include <unordered_map>
#include <utility>

#include "base/error.h"

namespace wgqa {

BlockTable::BlockTable(BlockTable&& other) noexcept
    : pool_(other.pool_),
      blockTokens_(other.blockTokens_),
      length_(std::exchange(other.length_, 0)),
      blocks_(std::exchange(other.blocks_, {})) {}

BlockTable& BlockTable::operator=(BlockTable&& other) noexcept {
  std::swap(pool_, other.pool_);
  std::swap(blockTokens_, other.blockTokens_);
  std::swap(length_, other.length_);
  std::swap(blocks_, other.blocks_);
  return *this;
}

AppendedSlot BlockTable::append() {
  std::optional<BlockCopy> copy;
  const std::int64_t place = length_ % blockTokens_;
  if (place == 0) {
    blocks_.push_back(pool_->allocate());
  } else if (const std::int32_t shared = blocks_.back(); pool_->references(shared) > 1) {
    copy = BlockCopy{shared, pool_->allocate()};
    pool_->release(shared);
    blocks_.back() = copy->destination;
  }
  ++length_;
  return {blocks_.back() * blockTokens_ + place, copy};
}

void BlockTable::shareFrom(const BlockTable& parent) {
  if (&parent == this) return;
  require(pool_ == parent.pool_, "block tables of different pools cannot share");
  for (const std::int32_t block : parent.blocks_) pool_->retain(block);
  clear();
  blocks_.assign(parent.blocks_.begin(), parent.blocks_.end());
  length_ = parent.length_;
}

void BlockTable::clear() {
  for (const std::int32_t block : blocks_) pool_->release(block);
  blocks_.clear();
  length_ = 0;
}

void checkInvariant(const BlockPool& pool, std::span<const BlockTable* const> tables) {
  pool.checkInvariant();
  std::unordered_map<std::int32_t, std::int32_t> held;
  for (const BlockTable* table : tables) {
    for (const std::int32_t block : table->blocks()) ++held[block];
  }
  require(static_cast<std::int64_t>(held.size()) == pool.inUse(),
          "a block in use is in no table, or a table holds a free block");
  for (const auto& [block, references] : held) {
    require(pool.references(block) == references, "a block's references do not match the tables");
  }
}

}  // namespace wgqa
