#include "ops/cuda/kernels/registry.h"

namespace wgqa::cuda {

std::vector<KernelEntry> attentionTensorBackwardKernels() { return {}; }

}  // namespace wgqa::cuda
