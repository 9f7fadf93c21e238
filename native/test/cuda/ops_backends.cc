#include "test/ops_backends.h"

#include "ops/cuda/cuda_ops.h"
#include "ops/cuda/emulation/emulated_driver.h"

namespace wgqa::test {
namespace {

constexpr int kRandomCases = 20;  // a case takes the emulation milliseconds to seconds

}  // namespace

std::vector<Backend> backends() {
  const auto makeEmulated = [] {
    static cuda::Device& device = *new cuda::Device(cuda::emulatedDriver(), 0);
    return std::make_unique<CudaOps>(device);
  };
  return {{.name = "cuda-emulated", .make = makeEmulated, .randomCases = kRandomCases}};
}

}  // namespace wgqa::test
