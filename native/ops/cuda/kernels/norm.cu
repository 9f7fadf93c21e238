#include "ops/cuda/kernels/norm.h"

#include "ops/cuda/kernels/elements.h"
#include "ops/cuda/kernels/reduce.h"
#include "ops/cuda/kernels/registry.h"

namespace wgqa::cuda {
namespace {

template <typename Out>
WGQA_KERNEL void WGQA_BOUNDS(256, 4) rmsNorm(RmsNormArguments p) {
  const std::int64_t row = blockX();
  const float* x = p.x + row * p.columns;
  auto* out = static_cast<Out*>(p.out) + row * p.columns;
  float sum = 0.0f;
  for (std::int64_t i = threadIndex(); i < p.columns; i += blockThreads()) sum += x[i] * x[i];
  sum = blockSum(sum, dynamicShared<float>());
  const float inverse = 1.0f / sqrtf(sum / static_cast<float>(p.columns) + p.epsilon);
  for (std::int64_t i = threadIndex(); i < p.columns; i += blockThreads()) {
    round(x[i] * inverse * p.weight[i], out[i]);
  }
  if (p.inverseRms != nullptr && threadIndex() == 0) p.inverseRms[row] = inverse;
}

}  // namespace

std::vector<KernelEntry> normKernels() {
  return {kernelEntry<rmsNorm<float>>(kRmsNormFloat32),
          kernelEntry<rmsNorm<BFloat16Element>>(kRmsNormBFloat16)};
}

}  // namespace wgqa::cuda
