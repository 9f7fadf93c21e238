// The library's one symbol, and what it tells of the devices.
#include "ops/cuda/driver.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstring>

#include "ops/cuda/runtime/memory.h"
#include "ops/cuda/runtime/outcome.h"
#include "ops/cuda/runtime/stream.h"
#include "ops/cuda/runtime/tensor_map.h"

namespace wgqa::cuda::runtime {
namespace {

constexpr std::int32_t kLowestCapability = 80;

std::int32_t capabilityOf(std::int32_t device) {
  int major = 0;
  int minor = 0;
  check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device),
        "asking for the compute capability");
  check(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device),
        "asking for the compute capability");
  return 10 * major + minor;
}

// Devices that can be used come first in CUDA's own order; those behind one that cannot do not
// count.
std::int32_t deviceCount(Outcome* outcome) {
  std::int32_t usable = 0;
  *outcome = outcomeOf([&] {
    int count = 0;
    check(cudaGetDeviceCount(&count), "looking for a device");
    for (; usable < count; ++usable) {
      const std::int32_t capability = capabilityOf(usable);
      if (capability >= kLowestCapability) continue;
      throw Failed(Failure::unsupported,
                   "device " + std::to_string(usable) + " has compute capability " +
                       std::to_string(capability / 10) + "." + std::to_string(capability % 10) +
                       "; at least 8.0 is needed");
    }
    if (count == 0) throw Failed(Failure::device, "there is none");
  });
  return usable;
}

Outcome properties(std::int32_t device, DeviceProperties* properties) {
  return outcomeOf([&] {
    cudaDeviceProp found{};
    check(cudaGetDeviceProperties(&found, device), "asking for the device's properties");
    *properties = {};
    const std::size_t length = strnlen(found.name, sizeof(properties->name) - 1);
    std::memcpy(properties->name, found.name, length);
    properties->computeCapability = 10 * found.major + found.minor;
    properties->multiprocessors = found.multiProcessorCount;
    properties->sharedBytesPerBlock = static_cast<std::int32_t>(found.sharedMemPerBlockOptin);
    properties->sharedBytesPerMultiprocessor =
        static_cast<std::int32_t>(found.sharedMemPerMultiprocessor);
    properties->registersPerMultiprocessor = found.regsPerMultiprocessor;
    properties->l2Bytes = found.l2CacheSize;
    properties->memoryBytes = static_cast<std::int64_t>(found.totalGlobalMem);
  });
}

Driver makeDriver() {
  Driver driver{};
  driver.version = kDriverVersion;
  driver.name = "cuda";
  driver.deviceCount = deviceCount;
  driver.properties = properties;
  addMemoryFunctions(driver);
  addStreamFunctions(driver);
  addTensorMapFunction(driver);
  return driver;
}

}  // namespace
}  // namespace wgqa::cuda::runtime

extern "C" __attribute__((visibility("default"))) const wgqa::cuda::Driver* wgqaCudaDriver() {
  static const wgqa::cuda::Driver driver = wgqa::cuda::runtime::makeDriver();
  return &driver;
}
