// Memory of packed weights.
#pragma once

#include <cstddef>
#include <memory>

#include "base/buffer.h"

namespace wgqa::cpu {

/// A piece of memory that lives as long as someone holds it.
struct MemoryPiece {
  std::shared_ptr<const Buffer> owner;
  std::byte* data = nullptr;
};

/// Hands out pieces of large buffers: those lie on huge pages, which weights of a few MiB each
/// would not, are read faster and take a fraction of the time to be provided. Not thread-safe.
class WeightMemory {
 public:
  /// Uninitialised, 64-byte aligned. Throws ErrorCode::outOfMemory.
  MemoryPiece take(std::size_t bytes);

 private:
  std::shared_ptr<const Buffer> current_;
  std::size_t used_ = 0;
};

}  // namespace wgqa::cpu
