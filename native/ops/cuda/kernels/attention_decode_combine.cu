// Joins the partial results of the splits of a sequence's keys, in their order.
#include "ops/cuda/kernels/attention_decode.h"
#include "ops/cuda/kernels/constants.h"
#include "ops/cuda/kernels/elements.h"
#include "ops/cuda/kernels/registry.h"

namespace wgqa::cuda {
namespace {

WGQA_KERNEL void WGQA_BOUNDS(kDecodeThreads, 8) attentionDecodeCombine(DecodeCombineArguments p) {
  const int head = blockX() * kDecodeWarps + warpIndex();
  if (head >= p.heads) return;
  const std::int64_t row = static_cast<std::int64_t>(blockY()) * p.heads + head;
  const int splits = (p.lengths[blockY()] + p.splitKeys - 1) / p.splitKeys;
  const PartialSoftmax* softmaxes = p.softmaxes + row * p.splits;
  float most = kMinusInfinity;
  for (int split = 0; split < splits; ++split) most = fmaxf(most, softmaxes[split].max);
  float total = 0.0f;
  for (int split = 0; split < splits; ++split) {
    total += softmaxes[split].sum * exp2f(softmaxes[split].max - most);
  }
  const float* partials = p.partials + row * p.splits * p.headDim;
  for (int d = laneIndex(); d < p.headDim; d += kWarpThreads) {
    float sum = 0.0f;
    for (int split = 0; split < splits; ++split) {
      sum += partials[static_cast<std::int64_t>(split) * p.headDim + d] *
             exp2f(softmaxes[split].max - most);
    }
    roundTo(sum / total, p.out, row * p.headDim + d, p.outType);
  }
}

}  // namespace

std::vector<KernelEntry> attentionDecodeCombineKernels() {
  return {kernelEntry<attentionDecodeCombine>(kDecodeCombine)};
}

}  // namespace wgqa::cuda
