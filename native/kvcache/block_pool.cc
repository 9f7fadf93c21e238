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

BlockPool::BlockPool(std::int64_t capacity) : capacity_(capacity) {
  require(capacity >= 0 && capacity <= std::numeric_limits<std::int32_t>::max(),
          "block pool capacity out of range");
}

std::int32_t BlockPool::allocate() {
  require(inUse_ < capacity_, "the block pool has no free block");
  std::int32_t block = 0;
  if (!kept_.empty()) {
    block = takeLast(kept_);
  } else if (!untouched_.empty()) {
    block = takeLast(untouched_);
  } else {
    block = static_cast<std::int32_t>(references_.size());
    references_.push_back(0);
  }
  references_[block] = 1;
  ++inUse_;
  return block;
}

void BlockPool::retain(std::int32_t block) {
  require(references_[block] > 0, "a free block cannot be shared");
  ++references_[block];
}

void BlockPool::release(std::int32_t block) {
  require(references_[block] > 0, "a free block cannot be released");
  if (--references_[block] > 0) return;
  --inUse_;
  kept_.push_back(block);
}

std::vector<std::int32_t> BlockPool::forgetFree() {
  untouched_.insert(untouched_.end(), kept_.begin(), kept_.end());
  return std::exchange(kept_, {});
}

void BlockPool::checkInvariant() const {
  std::vector<bool> isFree(references_.size(), false);
  for (const auto* list : {&kept_, &untouched_}) {
    for (const std::int32_t block : *list) {
      require(block >= 0 && block < static_cast<std::int64_t>(references_.size()),
              "a free block was never handed out");
      require(!isFree[block], "a block is free twice");
      isFree[block] = true;
    }
  }
  std::int64_t referenced = 0;
  for (std::size_t block = 0; block < references_.size(); ++block) {
    require(isFree[block] == (references_[block] == 0), "a block is neither free nor referenced");
    referenced += references_[block] > 0 ? 1 : 0;
  }
  require(referenced == inUse_, "the count of blocks in use is wrong");
}

}  // namespace wgqa
