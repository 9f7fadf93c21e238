#include "ops/cuda/kernels/registry.h"

namespace wgqa::cuda {

std::vector<KernelEntry> attentionDecodeKernels() { return {}; }

}  // namespace wgqa::cuda
