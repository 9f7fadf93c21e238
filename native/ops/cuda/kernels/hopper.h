// The instructions that compute capability 9.0 alone has: products of a warpgroup (four warps from
// a multiple of four on) straight from shared memory, copies of boxes of a tensor by an engine, and
// barriers in shared memory that both arrive at. CUDA's own under nvcc, an emulation elsewhere.
//
// A kernel that uses them does so where kHasHopper is true; the other architectures' copies of it
// are empty, and the host does not launch them.
#pragma once

#include "ops/cuda/kernels/elements.h"
#include "ops/cuda/kernels/tensor_map.h"

#ifdef __CUDACC__
#include "ops/cuda/kernels/hopper_cuda.h"
#else
#include "ops/cuda/emulation/hopper.h"
#endif

namespace wgqa::cuda {

inline constexpr int kWarpgroupThreads = 128;

WGQA_DEVICE int warpgroupIndex() { return threadIndex() / kWarpgroupThreads; }

}  // namespace wgqa::cuda
