// Orders what is kept in the cache by when it was last used.
#pragma once

#include <cstdint>

namespace wgqa {

/// Counts uses, not time: the same requests evict the same blocks on any machine.
class UseClock {
 public:
  std::uint64_t next() { return ++last_; }

 private:
  std::uint64_t last_ = 0;
};

}  // namespace wgqa
