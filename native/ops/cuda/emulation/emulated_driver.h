// A driver that runs kernels on the CPU: what tests use where there is no GPU.
#pragma once

#include "ops/cuda/driver.h"

namespace wgqa::cuda {

/// Device 0 has compute capability 8.0, device 1 has 9.0; few multiprocessors, so that small cases
/// are divided. They share their memory.
const Driver& emulatedDriver();

}  // namespace wgqa::cuda
