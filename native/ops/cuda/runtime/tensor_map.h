// Maps of tensors for the copy engine of compute capability 9.0.
#pragma once

#include "ops/cuda/driver.h"

namespace wgqa::cuda::runtime {

/// Fills in the driver's function that makes them.
void addTensorMapFunction(Driver& driver);

}  // namespace wgqa::cuda::runtime
