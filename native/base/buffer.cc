#include "base/buffer.h"

namespace wgqa {

Buffer::Buffer(Memory& memory, std::size_t bytes) : memory_(&memory) {
  if (bytes == 0) return;
  data_ = memory.allocate(bytes);
  bytes_ = bytes;
}

Buffer::~Buffer() { clear(); }

void Buffer::reserve(std::size_t bytes) {
  if (bytes <= bytes_) return;
  clear();
  *this = Buffer(*memory_, bytes);
}

void Buffer::clear() {
  if (data_ != nullptr) memory_->release(data_, bytes_);
  data_ = nullptr;
  bytes_ = 0;
}

}  // namespace wgqa
