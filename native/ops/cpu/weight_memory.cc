#include "ops/cpu/weight_memory.h"

namespace wgqa::cpu {
namespace {

constexpr std::size_t kBufferBytes = std::size_t{32} << 20;
// A larger piece has a buffer of its own, so that little of the others is left unused.
constexpr std::size_t kLargestShared = kBufferBytes / 4;
// A smaller one has too: a small model need not hold a large buffer.
constexpr std::size_t kSmallPiece = std::size_t{1} << 20;

}  // namespace

MemoryPiece WeightMemory::take(std::size_t bytes) {
  bytes = (bytes + kBufferAlignmentBytes - 1) / kBufferAlignmentBytes * kBufferAlignmentBytes;
  if (bytes < kSmallPiece || bytes > kLargestShared) {
    auto own = std::make_shared<const Buffer>(bytes);
    auto* data = own->as<std::byte>();
    return {std::move(own), data};
  }
  if (current_ == nullptr || used_ + bytes > current_->bytes()) {
    current_ = std::make_shared<const Buffer>(kBufferBytes);
    used_ = 0;
  }
  MemoryPiece piece{current_, current_->as<std::byte>() + used_};
  used_ += bytes;
  return piece;
}

}  // namespace wgqa::cpu
