#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

#include "base/error.h"

namespace wgqa {
namespace {

[[noreturn]] void fail(const std::string& what, const std::string& path) {
  throw Error(ErrorCode::io, "cannot " + what + " " + path + ": " + std::strerror(errno), path);
}

class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int value() const { return value_; }

 private:
  int value_;
};

}  // namespace

MappedFile::MappedFile(const std::string& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.value() < 0) fail("open", path);
  struct stat status {};
  if (::fstat(file.value(), &status) != 0) fail("read the size of", path);
  if (!S_ISREG(status.st_mode)) {
    throw Error(ErrorCode::io, path + " is not a regular file", path);
  }
  bytes_ = static_cast<std::size_t>(status.st_size);
  if (bytes_ == 0) return;
  void* mapped = ::mmap(nullptr, bytes_, PROT_READ, MAP_PRIVATE, file.value(), 0);
  if (mapped == MAP_FAILED) fail("map", path);
  data_ = static_cast<const std::byte*>(mapped);
}

void MappedFile::releasePages(const void* data, std::size_t bytes) const {
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto first = (reinterpret_cast<std::uintptr_t>(data) + page - 1) / page * page;
  const auto last = (reinterpret_cast<std::uintptr_t>(data) + bytes) / page * page;
  // It is advice: a system that does not take it holds the pages longer.
  if (first < last) ::madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), bytes_);
}

}  // namespace wgqa
