// Working memory of one CpuOps instance: buffers that grow to the largest problem seen and are then
// reused, so that a step in steady state allocates nothing.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/buffer.h"

namespace wgqa::cpu {

/// Buffers that all threads of an operation see. An operation may use any of them, and must not
/// expect one to keep its contents from one operation to the next.
enum class SharedScratch : std::uint8_t { first, second, third, fourth, fifth };

/// Equal slices of one buffer, one per thread; slices start on cache-line boundaries.
template <typename T>
class ThreadSlices {
 public:
  ThreadSlices(T* base, std::size_t stride) : base_(base), stride_(stride) {}
  T* of(int thread) const { return base_ + static_cast<std::size_t>(thread) * stride_; }

 private:
  T* base_;
  std::size_t stride_;
};

/// Hands out cache-line aligned pieces of one buffer of floats; over a null base it only counts, so
/// that one function both sizes and lays out a kernel's working memory.
class ScratchCarver {
 public:
  explicit ScratchCarver(float* base) : base_(base) {}

  float* take(std::size_t count) {
    constexpr std::size_t kLine = kBufferAlignmentBytes / sizeof(float);
    float* piece = base_ == nullptr ? nullptr : base_ + used_;
    used_ += (count + kLine - 1) / kLine * kLine;
    return piece;
  }
  std::size_t used() const { return used_; }

 private:
  float* base_;
  std::size_t used_ = 0;
};

/// Not thread-safe: an operation takes its buffers before it starts its parallel region. Memory is
/// uninitialised and 64-byte aligned. Throws ErrorCode::outOfMemory.
class Scratch {
 public:
  template <typename T>
  T* shared(SharedScratch slot, std::size_t count) {
    Buffer& buffer = shared_[static_cast<std::size_t>(slot)];
    buffer.reserve(count * sizeof(T));
    return buffer.as<T>();
  }

  /// `count` elements for each of `threads` threads; a second call invalidates the first one's.
  template <typename T>
  ThreadSlices<T> perThread(int threads, std::size_t count) {
    const std::size_t bytes = roundUp(count * sizeof(T));
    perThread_.reserve(static_cast<std::size_t>(threads) * bytes);
    return ThreadSlices<T>(perThread_.as<T>(), bytes / sizeof(T));
  }

 private:
  static constexpr std::size_t kSharedBuffers = 5;

  static std::size_t roundUp(std::size_t bytes) {
    return (bytes + kBufferAlignmentBytes - 1) / kBufferAlignmentBytes * kBufferAlignmentBytes;
  }

  std::array<Buffer, kSharedBuffers> shared_;
  Buffer perThread_;
};

}  // namespace wgqa::cpu
