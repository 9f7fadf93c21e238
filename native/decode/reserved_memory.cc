#include "decode/reserved_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <string>
#include <utility>

#include "base/error.h"

namespace wgqa {
namespace {

std::size_t roundUp(std::size_t value, std::size_t unit) {
  return (value + unit - 1) / unit * unit;
}

}  // namespace

std::size_t ReservedMemory::pageBytes() {
  static const auto bytes = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  return bytes;
}

ReservedMemory::ReservedMemory(std::size_t bytes) : bytes_(roundUp(bytes, pageBytes())) {
  if (bytes_ == 0) return;
  void* address = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (address == MAP_FAILED) {
    throw Error(
        ErrorCode::outOfMemory,
        "cannot reserve " + std::to_string(bytes_) + " bytes of address space for the cache",
        "kvCache.maxBytes");
  }
  data_ = static_cast<std::byte*>(address);
#ifdef MADV_NOHUGEPAGE
  // A huge page for each layer's first block would cost a small request 2 MiB per layer.
  madvise(data_, bytes_, MADV_NOHUGEPAGE);
#endif
}

ReservedMemory::~ReservedMemory() {
  if (data_ != nullptr) munmap(data_, bytes_);
}

ReservedMemory::ReservedMemory(ReservedMemory&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

ReservedMemory& ReservedMemory::operator=(ReservedMemory&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

void ReservedMemory::fetch([[maybe_unused]] std::size_t offset,
                           [[maybe_unused]] std::size_t bytes) {
#ifdef MADV_POPULATE_WRITE
  const std::size_t begin = offset / pageBytes() * pageBytes();
  const std::size_t end = roundUp(offset + bytes, pageBytes());
  madvise(data_ + begin, end - begin, MADV_POPULATE_WRITE);
#endif
}

void ReservedMemory::giveBack(std::size_t offset, std::size_t bytes) {
  const std::size_t begin = roundUp(offset, pageBytes());
  const std::size_t end = (offset + bytes) / pageBytes() * pageBytes();
  if (begin < end) madvise(data_ + begin, end - begin, MADV_DONTNEED);
}

}  // namespace wgqa
