#include "test/cuda/cuda_devices.h"

#include "ops/cuda/backend.h"
#include "ops/cuda/emulation/emulated_driver.h"

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

}  // namespace wgqa::test
