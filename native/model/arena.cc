#include "model/arena.h"

#include <algorithm>

namespace wgqa {
namespace {

// A cache line of the host, and what a device's copies and loads are aligned to.
constexpr std::size_t kArenaAlignmentBytes = 256;
constexpr std::size_t kSmallestChunkBytes = std::size_t{1} << 20;

std::size_t roundUp(std::size_t bytes) {
  return (bytes + kArenaAlignmentBytes - 1) / kArenaAlignmentBytes * kArenaAlignmentBytes;
}

}  // namespace

TensorView Arena::make(DType dtype, std::initializer_list<std::int64_t> shape) {
  TensorView view(nullptr, dtype, shape);
  const std::size_t bytes =
      std::max(roundUp(static_cast<std::size_t>(view.bytes())), kArenaAlignmentBytes);
  while (chunk_ < chunks_.size() && offset_ + bytes > chunks_[chunk_].bytes()) {
    ++chunk_;
    offset_ = 0;
  }
  if (chunk_ == chunks_.size()) {
    chunks_.emplace_back(memory_, std::max({bytes, kSmallestChunkBytes, this->bytes()}));
  }
  view.data = chunks_[chunk_].as<std::byte>() + offset_;
  offset_ += bytes;
  used_ += bytes;
  peak_ = std::max(peak_, used_);
  return view;
}

void Arena::reserveFloats(std::int64_t elements, std::int64_t tensors) {
  chunks_.emplace_back(memory_, static_cast<std::size_t>(elements) * sizeof(float) +
                                    static_cast<std::size_t>(tensors) * kArenaAlignmentBytes);
}

void Arena::rewind(const Mark& mark) {
  chunk_ = mark.chunk;
  offset_ = mark.offset;
  used_ = mark.used;
}

void Arena::reset() {
  if (chunks_.size() > 1) {
    const std::size_t needed = std::max(peak_, kSmallestChunkBytes);
    release();
    chunks_.emplace_back(memory_, needed);
  }
  rewind({});
  peak_ = 0;
}

void Arena::release() {
  chunks_.clear();
  rewind({});
  peak_ = 0;
}

std::size_t Arena::bytes() const {
  std::size_t total = 0;
  for (const Buffer& chunk : chunks_) total += chunk.bytes();
  return total;
}

}  // namespace wgqa
