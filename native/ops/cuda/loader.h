// Finds the library of the CUDA kernels, which is built and loaded apart: what uses no GPU needs
// neither it nor a driver.
#pragma once

#include <cstdint>
#include <string>

#include "ops/cuda/driver.h"

namespace wgqa::cuda {

struct LoadedDriver {
  const Driver* driver = nullptr;  // null if the library could not be used
  std::int32_t devices = 0;
  std::string reason;  // why there is no device; empty if there is one
};

/// Loads wgqa_cuda.so from `folder`, or says why not: there is none, it does not load, it was built
/// from other sources, or it finds no device.
LoadedDriver loadDriver(const std::string& folder);

/// The driver of this process, loaded on the first call from the folder that the environment
/// variable WGQA_CUDA_LIBRARY names, else from beside the binary that this code is in. Any thread
/// may ask.
const LoadedDriver& loadedDriver();

/// What the environment variable WGQA_CUDA_CAPABILITY says, for who doubts or measures kernels of a
/// newer generation: Device's mostCapability, any if it is not set or empty. Throws
/// ErrorCode::invalidArgument.
std::int32_t capabilityLimit(const char* text);

}  // namespace wgqa::cuda
