#include "ops/cuda/kernels/registry.h"

namespace wgqa::cuda {

std::vector<KernelEntry> attentionFloatKernels() { return {}; }

}  // namespace wgqa::cuda
