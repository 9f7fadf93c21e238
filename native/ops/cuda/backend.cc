#include "ops/cuda/backend.h"

#include <cstdlib>
#include <mutex>
#include <vector>

#include "ops/cuda/cuda_ops.h"
#include "ops/cuda/loader.h"

namespace wgqa {

std::optional<std::string> whyNoCuda() {
  const cuda::LoadedDriver& loaded = cuda::loadedDriver();
  if (loaded.devices > 0) return std::nullopt;
  return loaded.reason;
}

cuda::Device& cudaDevice(std::int32_t index) {
  const cuda::LoadedDriver& loaded = cuda::loadedDriver();
  if (loaded.devices == 0) {
    throw Error(ErrorCode::unsupported, loaded.reason, "device", "'auto' | 'cpu'");
  }
  if (index < 0 || index >= loaded.devices) {
    throw invalidArgument("device", "a number below " + std::to_string(loaded.devices),
                          std::to_string(index));
  }
  // Never destroyed: memory of a device may be released at the very end of the process.
  static std::mutex mutex;
  static auto& devices =
      *new std::vector<std::unique_ptr<cuda::Device>>(static_cast<std::size_t>(loaded.devices));
  const std::lock_guard lock(mutex);
  auto& device = devices[static_cast<std::size_t>(index)];
  if (!device) {
    device = std::make_unique<cuda::Device>(
        *loaded.driver, index, cuda::capabilityLimit(std::getenv("WGQA_CUDA_CAPABILITY")));
  }
  return *device;
}

std::unique_ptr<Ops> makeCudaOps(std::int32_t device) {
  return std::make_unique<CudaOps>(cudaDevice(device));
}

}  // namespace wgqa
