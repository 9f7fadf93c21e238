// Device and pinned memory.
#pragma once

#include "ops/cuda/driver.h"

namespace wgqa::cuda::runtime {

/// Fills in the driver's functions for memory.
void addMemoryFunctions(Driver& driver);

}  // namespace wgqa::cuda::runtime
