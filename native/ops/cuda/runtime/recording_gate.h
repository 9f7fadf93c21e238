// While a stream records, CUDA refuses to wait for its device as a whole, from any thread, and the
// recording is lost (CUDA C++ Programming Guide, "Prohibited and Unhandled Operations" of graphs).
#pragma once

#include <shared_mutex>

namespace wgqa::cuda::runtime {

/// Held shared by each stream that records, and alone by what waits for a device; not by one thread
/// for both.
inline std::shared_mutex& recordingGate() {
  static std::shared_mutex& gate = *new std::shared_mutex;
  return gate;
}

}  // namespace wgqa::cuda::runtime
