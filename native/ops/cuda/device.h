// A CUDA device as the host sees it: its memory, and streams of work. Outcomes of the driver become
// typed errors here.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "base/memory.h"
#include "ops/cuda/driver.h"
#include "ops/cuda/kernels/kernel.h"

namespace wgqa::cuda {

/// Throws what an outcome stands for: ErrorCode::outOfMemory, ErrorCode::unsupported (a missing
/// library, with what to install), or ErrorCode::internal.
void check(const Outcome& outcome);

inline constexpr std::int32_t kAnyCapability = 1000;

/// Lives as long as the process, since memory of it may.
class Device final : public Memory {
 public:
  /// Kernels that need more than `mostCapability` (10 * major + minor) are not taken.
  Device(const Driver& driver, std::int32_t index, std::int32_t mostCapability = kAnyCapability);

  const Driver& driver() const { return driver_; }
  std::int32_t index() const { return index_; }
  const DeviceProperties& properties() const { return properties_; }
  std::int64_t freeBytes() const;
  /// For kernels of compute capability 9.0.
  TensorMap map(const TensorBoxes& boxes) const;

  bool isHost() const override { return false; }
  void* allocate(std::size_t bytes) override;
  void release(void* data, std::size_t bytes) noexcept override;
  std::size_t pageBytes() const override { return driver_.pageBytes(index_); }
  std::unique_ptr<Reservation> reserve(std::size_t bytes) override;

 private:
  const Driver& driver_;
  std::int32_t index_;
  DeviceProperties properties_;
};

/// Blocks of a launch, x varying fastest.
struct Grid {
  std::int64_t x = 1;
  std::int64_t y = 1;
  std::int64_t z = 1;
};

/// Threads and dynamic shared memory of each block.
struct Block {
  int threads = 256;
  std::int64_t sharedBytes = 0;
};

/// A kernel's arguments are at most this large.
inline constexpr std::int64_t kMostArgumentBytes = 1024;

class StepRecorder;

/// Work in order. Used by one thread at a time.
class Stream {
 public:
  explicit Stream(Device& device);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  Device& device() { return device_; }
  /// As the driver knows it.
  void* handle() { return stream_; }
  /// While `recorder` is given, it collects what the stream is asked for; but for copies to and
  /// from the host, which it must not be asked for then.
  void collectWith(StepRecorder* recorder) { recorder_ = recorder; }

  /// A launch of no blocks does nothing.
  template <typename Arguments>
  void launch(Kernel<Arguments> kernel, const Grid& grid, const Block& block,
              const Arguments& given) {
    static_assert(sizeof(Arguments) <= kMostArgumentBytes);
    Arguments arguments = given;
#if __has_builtin(__builtin_clear_padding)
    __builtin_clear_padding(&arguments);  // equal arguments are equal bytes: see StepRecorder
#endif
    launch(kernel.name, grid, block, &arguments, sizeof(Arguments));
  }
  void multiply(const DenseProduct& product);
  void copyToDevice(void* to, const void* from, std::size_t bytes);
  /// Returns once `to` holds the bytes.
  void copyToHost(void* to, const void* from, std::size_t bytes);
  void copyOnDevice(void* to, const void* from, std::size_t bytes);
  void fill(void* to, int byte, std::size_t bytes);
  void synchronize();

 private:
  void launch(const char* name, const Grid& grid, const Block& block, const void* arguments,
              std::size_t argumentBytes);
  const void* kernelNamed(const char* name);

  Device& device_;
  void* stream_ = nullptr;
  StepRecorder* recorder_ = nullptr;
  std::unordered_map<const char*, const void*> kernels_;  // by the address of their name
};

}  // namespace wgqa::cuda
