#include "kvcache/block_table.h"

#include <unordered_map>
#include <utility>

#include "base/error.h"

namespace wgqa {

BlockTable::BlockTable(BlockTable&& other) noexcept
    : pool_(other.pool_),
      blockTokens_(other.blockTokens_),
      length_(std::exchange(other.length_, 0)),
      blocks_(std::exchange(other.blocks_, {})),
      chain_(std::exchange(other.chain_, {})) {}

BlockTable& BlockTable::operator=(BlockTable&& other) noexcept {
  std::swap(pool_, other.pool_);
  std::swap(blockTokens_, other.blockTokens_);
  std::swap(length_, other.length_);
  std::swap(blocks_, other.blocks_);
  std::swap(chain_, other.chain_);
  return *this;
}

/// Whether the last block is partly filled and another table holds it too.
bool BlockTable::sharesLastBlock() const {
  return length_ % blockTokens_ != 0 && pool_->references(blocks_.back()) > 1;
}

std::int64_t BlockTable::blocksToAppend(std::int64_t tokens) const {
  const std::int64_t blocks = (length_ + tokens + blockTokens_ - 1) / blockTokens_;
  const std::int64_t copies = tokens > 0 && sharesLastBlock() ? 1 : 0;
  return blocks - static_cast<std::int64_t>(blocks_.size()) + copies;
}

AppendedSlot BlockTable::append() {
  std::optional<BlockCopy> copy;
  const std::int64_t place = length_ % blockTokens_;
  if (place == 0) {
    blocks_.push_back(pool_->allocate());
  } else if (sharesLastBlock()) {
    const std::int32_t shared = blocks_.back();
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
  take(parent.blocks_, parent.chain_);
  length_ = parent.length_;
}

void BlockTable::sharePrefixFrom(const BlockTable& parent, std::int64_t tokens) {
  require(&parent != this && pool_ == parent.pool_ && tokens <= parent.length_,
          "a block table cannot share so much of another");
  const std::int64_t count = tokens / blockTokens_;
  take(std::span(parent.blocks_).first(static_cast<std::size_t>(count)),
       parent.chain_.blocks <= count ? parent.chain_ : PrefixChain::at(parent.chain_.root));
}

void BlockTable::adopt(const PrefixIndex::Match& match) { take(match.blocks, match.chain); }

void BlockTable::take(std::span<const std::int32_t> blocks, const PrefixChain& chain) {
  for (const std::int32_t block : blocks) pool_->retain(block);
  clear();
  blocks_.assign(blocks.begin(), blocks.end());
  length_ = static_cast<std::int64_t>(blocks.size()) * blockTokens_;
  chain_ = chain;
}

void BlockTable::clear() {
  // Last to first: what hangs on a block is to be evicted before it.
  for (std::size_t i = blocks_.size(); i > 0; --i) pool_->release(blocks_[i - 1]);
  blocks_.clear();
  length_ = 0;
  chain_ = {};
}

void checkInvariant(const BlockPool& pool, std::span<const BlockTable* const> tables) {
  pool.checkInvariant();
  std::unordered_map<std::int32_t, std::int32_t> held;
  for (const BlockTable* table : tables) {
    for (const std::int32_t block : table->blocks()) ++held[block];
  }
  require(static_cast<std::int64_t>(held.size()) == pool.referenced(),
          "a block in use is in no table, or a table holds a free block");
  for (const auto& [block, references] : held) {
    require(pool.references(block) == references, "a block's references do not match the tables");
  }
}

}  // namespace wgqa
