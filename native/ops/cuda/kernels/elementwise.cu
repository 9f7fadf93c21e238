#include "ops/cuda/kernels/registry.h"

namespace wgqa::cuda {

std::vector<KernelEntry> elementwiseKernels() { return {}; }

}  // namespace wgqa::cuda
