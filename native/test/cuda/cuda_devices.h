// The devices that tests of the CUDA backend run on: the emulated one, and a GPU where there is
// one.
#pragma once

#include <string>
#include <vector>

#include "ops/cuda/device.h"

namespace wgqa::test {

struct CudaTestDevice {
  std::string name;
  cuda::Device* device;
};

std::vector<CudaTestDevice> cudaTestDevices();

}  // namespace wgqa::test
