// A driver that runs kernels on the CPU: what tests use where there is no GPU.
#pragma once

#include "ops/cuda/driver.h"

namespace wgqa::cuda {

/// One device of compute capability 8.0, with few multiprocessors, so that small cases are divided.
const Driver& emulatedDriver();

}  // namespace wgqa::cuda
