#include "ops/cuda/kernels/registry.h"

namespace wgqa::cuda {

std::vector<KernelEntry> kvAppendKernels() { return {}; }

}  // namespace wgqa::cuda
