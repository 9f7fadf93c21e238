// How fast the machine reads memory: what bounds every operation that uses its data once.
#pragma once

#include <cstdint>

#include "limits/large_array.h"

namespace wgqa {

/// Reads `bytes` with all threads, each its own part from front to back in the widest vectors there
/// are. As many bytes as the work reads that is compared with it: whether they fit into a cache
/// then counts for both alike. Throws ErrorCode::outOfMemory.
class ReadLimit {
 public:
  explicit ReadLimit(std::int64_t bytes) : array_(static_cast<std::size_t>(bytes)) {}

  std::int64_t bytes() const { return static_cast<std::int64_t>(array_.bytes()); }
  /// Reads everything once.
  void run();

 private:
  LargeArray array_;
};

/// Bytes of the cache that all cores share, 0 where the system does not tell.
std::int64_t lastLevelCacheBytes();

}  // namespace wgqa
