#include "ops/cuda/kernels/registry.h"

namespace wgqa::cuda {

std::vector<KernelEntry> mergeKernels() { return {}; }

}  // namespace wgqa::cuda
