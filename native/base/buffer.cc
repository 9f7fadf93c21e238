#include "base/buffer.h"

#include <string>

#include "base/error.h"

namespace wgqa {

Buffer::Buffer(std::size_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  data_ = ::operator new(bytes, std::align_val_t{kBufferAlignmentBytes}, std::nothrow);
  if (data_ == nullptr) {
    bytes_ = 0;
    throw Error(ErrorCode::outOfMemory, "cannot allocate " + std::to_string(bytes) + " bytes");
  }
}

Buffer::~Buffer() { clear(); }

void Buffer::reserve(std::size_t bytes) {
  if (bytes <= bytes_) return;
  clear();
  *this = Buffer(bytes);
}

void Buffer::clear() {
  if (data_ != nullptr) ::operator delete(data_, std::align_val_t{kBufferAlignmentBytes});
  data_ = nullptr;
  bytes_ = 0;
}

}  // namespace wgqa
