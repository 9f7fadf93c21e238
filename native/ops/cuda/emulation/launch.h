// Runs a kernel on the CPU, block by block.
#pragma once

#include <cstdint>

#include "ops/cuda/driver.h"
#include "ops/cuda/kernels/kernel.h"

namespace wgqa::cuda::emulation {

/// Throws Error where a kernel breaks the rules of execution.h: threads that wait for each other
/// without end, or that leave while others wait for them.
void run(const KernelEntry& kernel, const Launch& launch);

}  // namespace wgqa::cuda::emulation
