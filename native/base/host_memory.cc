#include <sys/mman.h>
#include <unistd.h>

#include <new>
#include <string>

#include "base/buffer.h"
#include "base/error.h"

namespace wgqa {
namespace {

constexpr std::size_t kHugePageBytes = std::size_t{2} << 20;

// Blocks of at least two huge pages start on one.
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

std::size_t systemPageBytes() {
  static const auto bytes = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  return bytes;
}

std::size_t roundUp(std::size_t value, std::size_t unit) {
  return (value + unit - 1) / unit * unit;
}

class HostReservation final : public Reservation {
 public:
  explicit HostReservation(std::size_t bytes) : bytes_(roundUp(bytes, systemPageBytes())) {
    if (bytes_ == 0) return;
    void* address = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (address == MAP_FAILED) {
      throw Error(ErrorCode::outOfMemory,
                  "cannot reserve " + std::to_string(bytes_) + " bytes of address space");
    }
    data_ = static_cast<std::byte*>(address);
#ifdef MADV_NOHUGEPAGE
    // A huge page for each of many small parts would cost each 2 MiB.
    madvise(data_, bytes_, MADV_NOHUGEPAGE);
#endif
  }
  ~HostReservation() override {
    if (data_ != nullptr) munmap(data_, bytes_);
  }
  HostReservation(const HostReservation&) = delete;
  HostReservation& operator=(const HostReservation&) = delete;

  std::byte* data() const override { return data_; }
  std::size_t bytes() const override { return bytes_; }
  bool providesOnWrite() const override { return true; }

  // Nothing is lost where the system cannot.
  void provide([[maybe_unused]] std::size_t offset, [[maybe_unused]] std::size_t bytes) override {
#ifdef MADV_POPULATE_WRITE
    const std::size_t begin = offset / systemPageBytes() * systemPageBytes();
    const std::size_t end = roundUp(offset + bytes, systemPageBytes());
    madvise(data_ + begin, end - begin, MADV_POPULATE_WRITE);
#endif
  }

  void giveBack(std::size_t offset, std::size_t bytes) override {
    const std::size_t begin = roundUp(offset, systemPageBytes());
    const std::size_t end = (offset + bytes) / systemPageBytes() * systemPageBytes();
    if (begin < end) madvise(data_ + begin, end - begin, MADV_DONTNEED);
  }

 private:
  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
};

class HostMemory final : public Memory {
 public:
  bool isHost() const override { return true; }

  void* allocate(std::size_t bytes) override {
    void* data = ::operator new(bytes, alignmentOf(bytes), std::nothrow);
    if (data == nullptr) {
      throw Error(ErrorCode::outOfMemory, "cannot allocate " + std::to_string(bytes) + " bytes");
    }
    askForHugePages(data, bytes);
    return data;
  }

  void release(void* data, std::size_t bytes) noexcept override {
    ::operator delete(data, alignmentOf(bytes));
  }

  std::size_t pageBytes() const override { return systemPageBytes(); }

  std::unique_ptr<Reservation> reserve(std::size_t bytes) override {
    return std::make_unique<HostReservation>(bytes);
  }
};

}  // namespace

Memory& hostMemory() {
  static HostMemory memory;
  return memory;
}

}  // namespace wgqa
