// What the operations of one CudaOps share: the stream they run on, device copies of the host's
// tables, and scratch memory.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/buffer.h"
#include "ops/cuda/device.h"
#include "ops/cuda/step_recorder.h"

namespace wgqa::cuda {

/// Used by one thread at a time.
class Session {
 public:
  explicit Session(Device& device);

  /// Before each operation: what the last one was given may be forgotten.
  void beginOperation();
  /// Between the two, operations are collected and then run as one: see StepRecorder.
  void beginStep();
  void endStep();
  void abandonStep() noexcept;
  const StepCounts& stepCounts() const { return recorder_.counts(); }

  Device& device() { return stream_.device(); }
  Stream& stream() { return stream_; }
  std::int64_t multiprocessors() { return device().properties().multiprocessors; }

  template <typename Arguments>
  void launch(Kernel<Arguments> kernel, const Grid& grid, const Block& block,
              const Arguments& arguments) {
    stream_.launch(kernel, grid, block, arguments);
  }

  /// A copy of a host table on the device, for the operation that is being launched. Equal tables
  /// are copied once for many operations. Null for an empty table.
  template <typename T>
  const T* table(std::span<const T> values) {
    return static_cast<const T*>(tableBytes(values.data(), values.size_bytes()));
  }

  /// Uninitialised device memory for the operation that is being launched: `place` tells several
  /// of one operation apart. Grows only when asked for more than ever before.
  enum class Scratch : std::uint8_t { first, second, third, fourth };
  template <typename T>
  T* scratch(Scratch place, std::int64_t count) {
    return static_cast<T*>(scratchBytes(place, static_cast<std::size_t>(count) * sizeof(T)));
  }

 private:
  struct Table {
    const std::byte* copy = nullptr;
    std::vector<std::byte> content;
  };

  const void* tableBytes(const void* values, std::size_t bytes);
  void* scratchBytes(Scratch place, std::size_t bytes);

  Stream stream_;
  StepRecorder recorder_;
  std::vector<Buffer> tableMemory_;  // the last one is filled
  std::size_t tableEnd_ = 0;
  std::vector<Table> tables_;
  Buffer scratch_[4];
};

}  // namespace wgqa::cuda
