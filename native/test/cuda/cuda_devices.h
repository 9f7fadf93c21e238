// The devices that tests of the CUDA backend run on: the emulated one, and a GPU where there is
// one.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "ops/cuda/device.h"
#include "ops/ops.h"

namespace wgqa::test {

struct CudaTestDevice {
  std::string name;
  cuda::Device* device;
};

std::vector<CudaTestDevice> cudaTestDevices();

using MakeOps = std::function<std::unique_ptr<Ops>()>;

/// Runs `body` on every device, and says which one it was that failed.
void onEachDevice(const std::function<void(const MakeOps&)>& body);

}  // namespace wgqa::test
