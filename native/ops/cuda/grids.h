// How many blocks a launch has.
#pragma once

#include <algorithm>
#include <cstdint>

#include "ops/cuda/session.h"

namespace wgqa::cuda {

inline constexpr std::int64_t kWarpThreadCount = 32;

/// Shared memory of a sum or maximum over a block: a number for each warp.
inline constexpr std::int64_t kReduceBytes = 32 * sizeof(float);
inline constexpr std::int64_t kDoubleReduceBytes = 32 * sizeof(double);

/// Threads of `warps` warps.
constexpr int threadsOf(std::int64_t warps) { return static_cast<int>(warps * kWarpThreadCount); }

constexpr std::int64_t divideUp(std::int64_t value, std::int64_t unit) {
  return (value + unit - 1) / unit;
}

/// For kernels whose blocks take one piece of work after another: enough to fill the device a few
/// times over, so that all its parts end at about the same time.
inline std::int64_t stridedBlocks(std::int64_t pieces, Session& session) {
  constexpr std::int64_t kBlocksPerMultiprocessor = 32;
  return std::min(pieces, kBlocksPerMultiprocessor * session.multiprocessors());
}

}  // namespace wgqa::cuda
