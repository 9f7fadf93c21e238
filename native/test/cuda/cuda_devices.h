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
/// And the emulated one of compute capability 9.0, which differs from the other in its attention
/// over whole sequences of bfloat16 numbers.
std::vector<CudaTestDevice> cudaAttentionTestDevices();

using MakeOps = std::function<std::unique_ptr<Ops>()>;

/// Runs `body` on every device, and says which one it was that failed.
void onEachDevice(const std::function<void(const MakeOps&)>& body,
                  const std::vector<CudaTestDevice>& devices = cudaTestDevices());

}  // namespace wgqa::test
