// The execution model that kernels are written in: CUDA's own under nvcc, an emulation on the CPU
// (emulation/execution.h) elsewhere. Kernels use nothing of CUDA but what stands here, so that the
// same source runs in tests without a GPU.
//
// A kernel takes one arguments struct by value. It has no static shared memory: dynamicShared()
// gives what the launch asked for. All threads of a warp call a warp function together, all threads
// of a block a block function.
#pragma once

#include <cstddef>
#include <cstdint>

#ifdef __CUDACC__
#define WGQA_KERNEL __global__
#define WGQA_DEVICE __device__ __forceinline__
// Threads of a block at most, and blocks of a multiprocessor at least, for the register allocator.
#define WGQA_BOUNDS(threads, blocks) __launch_bounds__(threads, blocks)
#define WGQA_UNROLL _Pragma("unroll")
#define WGQA_PRAGMA(text) _Pragma(#text)
// Where unrolling wholly would take more registers than it saves time.
#define WGQA_UNROLL_BY(count) WGQA_PRAGMA(unroll count)
#include "ops/cuda/kernels/execution_cuda.h"
#else
#define WGQA_KERNEL
#define WGQA_DEVICE inline
#define WGQA_BOUNDS(threads, blocks)
#define WGQA_UNROLL
#define WGQA_UNROLL_BY(count)
#include "ops/cuda/emulation/execution.h"
#endif

namespace wgqa::cuda {

inline constexpr int kWarpThreads = 32;

}  // namespace wgqa::cuda
