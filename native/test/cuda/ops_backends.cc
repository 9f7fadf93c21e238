#include "test/ops_backends.h"

#include "ops/cuda/cuda_ops.h"
#include "test/cuda/cuda_devices.h"

namespace wgqa::test {
namespace {

constexpr int kEmulatedRandomCases = 20;  // one takes the emulation milliseconds to seconds
constexpr int kRandomCases = 200;

}  // namespace

std::vector<Backend> backends() {
  std::vector<Backend> all;
  for (const CudaTestDevice& on : cudaAttentionTestDevices()) {
    const bool isEmulated = on.name != "cuda";
    // The emulation runs thread after thread; on a device a second run may take them otherwise.
    all.push_back({.name = on.name,
                   .make = [&device = *on.device] { return std::make_unique<CudaOps>(device); },
                   .randomCases = isEmulated ? kEmulatedRandomCases : kRandomCases,
                   .dependsOnThreads = !isEmulated,
                   .onlyOps = on.name == "cuda-emulated-hopper" ? "attentionPrefill" : ""});
  }
  return all;
}

}  // namespace wgqa::test
