// Owned memory that grows only when asked for more than it has.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "base/memory.h"

namespace wgqa {

/// Of every buffer's start, at least.
inline constexpr std::size_t kBufferAlignmentBytes = 64;

class Buffer {
 public:
  Buffer() = default;
  /// Uninitialised memory of the host. Throws ErrorCode::outOfMemory.
  explicit Buffer(std::size_t bytes) : Buffer(hostMemory(), bytes) {}
  /// Uninitialised memory of `memory`, which outlives it. Throws ErrorCode::outOfMemory.
  Buffer(Memory& memory, std::size_t bytes);
  ~Buffer();
  Buffer(Buffer&& other) noexcept
      : memory_(other.memory_),
        data_(std::exchange(other.data_, nullptr)),
        bytes_(std::exchange(other.bytes_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(memory_, other.memory_);
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  /// Makes room for at least `bytes`; the contents are lost when it has to grow.
  void reserve(std::size_t bytes);
  void clear();
  std::size_t bytes() const { return bytes_; }

  template <typename T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  Memory* memory_ = &hostMemory();
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace wgqa
