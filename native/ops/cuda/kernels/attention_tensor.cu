#include "ops/cuda/kernels/registry.h"

namespace wgqa::cuda {

std::vector<KernelEntry> attentionTensorKernels() { return {}; }

}  // namespace wgqa::cuda
