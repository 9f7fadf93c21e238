// All kernels, by the file that defines them. A driver finds a kernel by its name in these lists.
#pragma once

#include <vector>

#include "ops/cuda/kernels/kernel.h"

namespace wgqa::cuda {

std::vector<KernelEntry> attentionDecodeCombineKernels();
std::vector<KernelEntry> attentionDecodeScalarKernels();
std::vector<KernelEntry> attentionDecodeTensorKernels();
std::vector<KernelEntry> attentionFloatKernels();
std::vector<KernelEntry> attentionFloatBackwardKernels();
std::vector<KernelEntry> attentionHopperKernels();
std::vector<KernelEntry> attentionHopperKeyGradientKernels();
std::vector<KernelEntry> attentionHopperQueryGradientKernels();
std::vector<KernelEntry> attentionTensorKernels();
std::vector<KernelEntry> attentionTensorBackwardKernels();
std::vector<KernelEntry> chooseTokensKernels();
std::vector<KernelEntry> crossEntropyKernels();
std::vector<KernelEntry> distilledCrossEntropyKernels();
std::vector<KernelEntry> elementwiseKernels();
std::vector<KernelEntry> embeddingKernels();
std::vector<KernelEntry> kvCacheKernels();
std::vector<KernelEntry> mergeConstraintKernels();
std::vector<KernelEntry> mergeKernels();
std::vector<KernelEntry> normKernels();
std::vector<KernelEntry> optimiserKernels();
std::vector<KernelEntry> quantisedProductKernels();

inline std::vector<KernelEntry> allKernels() {
  std::vector<KernelEntry> all;
  for (const auto& kernels : {attentionDecodeCombineKernels,
                              attentionDecodeScalarKernels,
                              attentionDecodeTensorKernels,
                              attentionFloatKernels,
                              attentionFloatBackwardKernels,
                              attentionHopperKernels,
                              attentionHopperKeyGradientKernels,
                              attentionHopperQueryGradientKernels,
                              attentionTensorKernels,
                              attentionTensorBackwardKernels,
                              chooseTokensKernels,
                              crossEntropyKernels,
                              distilledCrossEntropyKernels,
                              elementwiseKernels,
                              embeddingKernels,
                              kvCacheKernels,
                              mergeConstraintKernels,
                              mergeKernels,
                              normKernels,
                              optimiserKernels,
                              quantisedProductKernels}) {
    for (const KernelEntry& entry : kernels()) all.push_back(entry);
  }
  return all;
}

}  // namespace wgqa::cuda
