#include "ops/cuda/kernels/registry.h"

namespace wgqa::cuda {

std::vector<KernelEntry> embeddingKernels() { return {}; }

}  // namespace wgqa::cuda
