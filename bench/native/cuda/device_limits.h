// The limits of a CUDA device that benchmarks are compared with, measured in the same run.
#pragma once

#include "bench_support.h"
#include "ops/cuda/device.h"

namespace wgqa::bench {

/// Copies 1 GiB on the device: bytes read and bytes written.
Subject copyBandwidth(cuda::Device& device);

/// cuBLASLt's product of 8192 x 8192 by 8192 x 8192 bfloat16 numbers, result in bfloat16.
Subject matrixPeak(cuda::Device& device);

/// The device's name, compute capability and multiprocessors: for the title of a result.
std::string describeDevice(const cuda::Device& device);

}  // namespace wgqa::bench
