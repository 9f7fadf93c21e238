#include "base/buffer.h"

#ifdef __linux__
#include <sys/mman.h>
#endif

#include <string>

#include "base/error.h"

namespace wgqa {
namespace {

constexpr std::size_t kHugePageBytes = std::size_t{2} << 20;

// Buffers of at least two huge pages start on one.
std::align_val_t alignmentOf(std::size_t bytes) {
  return std::align_val_t{bytes < 2 * kHugePageBytes ? kBufferAlignmentBytes : kHugePageBytes};
}

// One thread streams through huge pages about twice as fast as through pages of 4 KiB, and they are
// faulted in 512 times as seldom. A kernel that has none gives small ones.
void askForHugePages([[maybe_unused]] void* data, [[maybe_unused]] std::size_t bytes) {
#ifdef __linux__
  if (bytes >= 2 * kHugePageBytes) madvise(data, bytes, MADV_HUGEPAGE);
#endif
}

}  // namespace

Buffer::Buffer(std::size_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  data_ = ::operator new(bytes, alignmentOf(bytes), std::nothrow);
  if (data_ == nullptr) {
    bytes_ = 0;
    throw Error(ErrorCode::outOfMemory, "cannot allocate " + std::to_string(bytes) + " bytes");
  }
  askForHugePages(data_, bytes);
}

Buffer::~Buffer() { clear(); }

void Buffer::reserve(std::size_t bytes) {
  if (bytes <= bytes_) return;
  clear();
  *this = Buffer(bytes);
}

void Buffer::clear() {
  if (data_ != nullptr) ::operator delete(data_, alignmentOf(bytes_));
  data_ = nullptr;
  bytes_ = 0;
}

}  // namespace wgqa
