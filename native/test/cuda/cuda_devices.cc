#include "test/cuda/cuda_devices.h"

#include "ops/cuda/backend.h"
#include "ops/cuda/cuda_ops.h"
#include "ops/cuda/emulation/emulated_driver.h"
#include "test/harness.h"

namespace wgqa::test {

std::vector<CudaTestDevice> cudaTestDevices() {
  static cuda::Device& emulated = *new cuda::Device(cuda::emulatedDriver(), 0);
  std::vector<CudaTestDevice> all = {{"cuda-emulated", &emulated}};
  if (!whyNoCuda()) all.push_back({"cuda", &cudaDevice(0)});
  return all;
}

std::vector<CudaTestDevice> cudaAttentionTestDevices() {
  static cuda::Device& hopper = *new cuda::Device(cuda::emulatedDriver(), 1);
  auto all = cudaTestDevices();
  all.push_back({"cuda-emulated-hopper", &hopper});
  return all;
}

void onEachDevice(const std::function<void(const MakeOps&)>& body,
                  const std::vector<CudaTestDevice>& devices) {
  for (const CudaTestDevice& on : devices) {
    const int before = failuresOfRunningTest();
    body([&device = *on.device] { return std::make_unique<CudaOps>(device); });
    if (failuresOfRunningTest() > before) note("on " + on.name);
  }
}

}  // namespace wgqa::test
