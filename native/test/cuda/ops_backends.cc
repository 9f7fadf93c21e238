#include "test/ops_backends.h"

#include "ops/cuda/backend.h"
#include "ops/cuda/cuda_ops.h"
#include "ops/cuda/emulation/emulated_driver.h"

namespace wgqa::test {
namespace {

constexpr int kEmulatedRandomCases = 20;  // one takes the emulation milliseconds to seconds
constexpr int kRandomCases = 200;

}  // namespace

std::vector<Backend> backends() {
  const auto makeEmulated = [] {
    static cuda::Device& device = *new cuda::Device(cuda::emulatedDriver(), 0);
    return std::make_unique<CudaOps>(device);
  };
  std::vector<Backend> all = {
      {.name = "cuda-emulated", .make = makeEmulated, .randomCases = kEmulatedRandomCases}};
  if (!whyNoCuda()) {
    all.push_back(
        {.name = "cuda", .make = [] { return makeCudaOps(); }, .randomCases = kRandomCases});
  }
  return all;
}

}  // namespace wgqa::test
