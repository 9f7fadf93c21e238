// How another thread asks long work to end early.
#pragma once

#include <atomic>

#include "base/error.h"

namespace wgqa {

/// Set by another thread; long work reads it between layers and steps.
using AbortFlag = std::atomic<bool>;

/// Throws ErrorCode::aborted if the flag is given and set.
inline void throwIfAborted(const AbortFlag* abort) {
  if (abort != nullptr && abort->load(std::memory_order_relaxed)) {
    throw Error(ErrorCode::aborted, "the operation was aborted");
  }
}

}  // namespace wgqa
