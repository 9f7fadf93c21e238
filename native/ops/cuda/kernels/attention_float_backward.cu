#include "ops/cuda/kernels/registry.h"

namespace wgqa::cuda {

std::vector<KernelEntry> attentionFloatBackwardKernels() { return {}; }

}  // namespace wgqa::cuda
