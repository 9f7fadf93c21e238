#include "kvcache/block_pool.h"

#include <limits>
#include <utility>

#include "base/error.h"

namespace wgqa {
namespace {

std::int32_t takeLast(std::vector<std::int32_t>& blocks) {
  const std::int32_t block = blocks.back();
  blocks.pop_back();
  return block;
}

}  // namespace

BlockPool::BlockPool(std::int64_t capacity, UseClock& clock) : capacity_(capacity), clock_(&clock) {
  require(capacity >= 0 && capacity <= std::numeric_limits<std::int32_t>::max(),
          "block pool capacity out of range");
}

std::int32_t BlockPool::allocate() {
  require(free() > 0, "the block pool has no free block");
  std::int32_t block = 0;
  if (!free_.empty()) {
    block = takeLast(free_);
  } else {
    block = takeUntouched();
    newlyTouched_.push_back(block);
  }
  at(block).references = 1;
  ++referenced_;
  return block;
}

std::int32_t BlockPool::takeUntouched() {
  if (!forgotten_.empty()) return takeLast(forgotten_);
  blocks_.emplace_back();
  return static_cast<std::int32_t>(blocks_.size()) - 1;
}

void BlockPool::retain(std::int32_t block) {
  if (isCached(block)) {
    uncache(block);
    ++referenced_;
  } else {
    require(at(block).references > 0, "a free block cannot be shared");
  }
  ++at(block).references;
}

void BlockPool::release(std::int32_t block) {
  require(at(block).references > 0, "a free block cannot be released");
  if (--at(block).references > 0) return;
  --referenced_;
  if (at(block).isKept) {
    cache(block);
  } else {
    free_.push_back(block);
  }
}

void BlockPool::keep(std::int32_t block) {
  require(at(block).references > 0 && !at(block).isKept, "only a block in use can be kept, once");
  at(block).isKept = true;
  ++kept_;
}

void BlockPool::drop(std::int32_t block) {
  require(at(block).isKept, "a block is dropped that nobody keeps");
  if (isCached(block)) {
    uncache(block);
    free_.push_back(block);
  }
  at(block).isKept = false;
  --kept_;
}

std::uint64_t BlockPool::oldestCachedUse() const {
  require(oldest_ != kNone, "no block is cached");
  return at(oldest_).since;
}

void BlockPool::cache(std::int32_t block) {
  Block& cached = at(block);
  cached.since = clock_->next();
  cached.older = newest_;
  cached.newer = kNone;
  (newest_ == kNone ? oldest_ : at(newest_).newer) = block;
  newest_ = block;
  ++cached_;
}

void BlockPool::uncache(std::int32_t block) {
  const Block& cached = at(block);
  (cached.older == kNone ? oldest_ : at(cached.older).newer) = cached.newer;
  (cached.newer == kNone ? newest_ : at(cached.newer).older) = cached.older;
  --cached_;
}

std::vector<std::int32_t> BlockPool::forgetFree() {
  forgotten_.insert(forgotten_.end(), free_.begin(), free_.end());
  return std::exchange(free_, {});
}

void BlockPool::checkInvariant() const {
  std::vector<bool> isFree(blocks_.size(), false);
  checkFree(isFree);
  std::int64_t referenced = 0;
  std::int64_t cached = 0;
  std::int64_t kept = 0;
  for (std::size_t block = 0; block < blocks_.size(); ++block) {
    const Block& state = blocks_[block];
    const bool isReferenced = state.references > 0;
    require(!isFree[block] || (!isReferenced && !state.isKept), "a free block is in use");
    require(isFree[block] || isReferenced || state.isKept, "a block is lost");
    referenced += isReferenced ? 1 : 0;
    cached += state.isKept && !isReferenced ? 1 : 0;
    kept += state.isKept ? 1 : 0;
  }
  require(referenced == referenced_ && cached == cached_ && kept == kept_,
          "a count of blocks is wrong");
  require(held() <= capacity_, "more blocks are held than there are");
  checkCached();
}

void BlockPool::checkFree(std::vector<bool>& isFree) const {
  for (const auto* list : {&free_, &forgotten_}) {
    for (const std::int32_t block : *list) {
      require(block >= 0 && block < static_cast<std::int64_t>(blocks_.size()),
              "a free block was never handed out");
      require(!isFree[static_cast<std::size_t>(block)], "a block is free twice");
      isFree[static_cast<std::size_t>(block)] = true;
    }
  }
}

void BlockPool::checkCached() const {
  std::int64_t listed = 0;
  std::int32_t older = kNone;
  for (std::int32_t block = oldest_; block != kNone; block = at(block).newer) {
    require(isCached(block) && at(block).older == older, "the list of cached blocks is broken");
    require(older == kNone || at(older).since < at(block).since, "cached blocks are out of order");
    require(++listed <= cached_, "the list of cached blocks is too long");
    older = block;
  }
  require(listed == cached_ && newest_ == older, "the list of cached blocks is too short");
}

}  // namespace wgqa
