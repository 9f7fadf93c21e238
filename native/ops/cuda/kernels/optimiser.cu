#include "ops/cuda/kernels/registry.h"

namespace wgqa::cuda {

std::vector<KernelEntry> optimiserKernels() { return {}; }

}  // namespace wgqa::cuda
