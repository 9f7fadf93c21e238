#include "ops/cuda/kernels/cross_entropy.h"

#include "ops/cuda/kernels/registry.h"
#include "ops/cuda/kernels/softmax_row.h"

namespace wgqa::cuda {
namespace {

template <typename Grad>
WGQA_DEVICE void writeGradient(const float* logits, const LogitsRow& row,
                               const HardGradient& gradient, Grad* out) {
  for (int first = threadIndex(); first < row.groups; first += kInFlight * blockThreads()) {
    FourFloats x[kInFlight];
    loadGroups(logits, row, first, x);
    WGQA_UNROLL
    for (int i = 0; i < kInFlight; ++i) {
      const int group = first + i * blockThreads();
      if (group >= row.groups) break;
      const int column = row.columnOf(group);
      WGQA_UNROLL
      for (int j = 0; j < 4; ++j) x[i].values[j] = gradient.at(x[i].values[j], column + j);
      storeFour(x[i], out + column, 4);
    }
  }
  if (threadIndex() < row.edges) {
    const int column = row.edgeColumn(threadIndex());
    round(gradient.at(logits[column], column), out[column]);
  }
}

template <typename Grad>
WGQA_KERNEL void WGQA_BOUNDS(512, 2) crossEntropy(CrossEntropyArguments p) {
  const std::int64_t row = blockX();
  const int label = p.labels[row];
  Grad* grad = static_cast<Grad*>(p.gradLogits);
  if (grad != nullptr) grad += row * p.gradStride;
  if (label == p.ignoredLabel) {
    if (p.losses != nullptr && threadIndex() == 0) p.losses[row] = 0.0;
    if (grad != nullptr) writeZeros(p.vocab, grad);
    return;
  }
  const float* logits = p.logits + row * p.logitsStride;
  const float atLabel = logits[label];
  const LogitsRow parts(logits, p.vocab);
  // Its barriers come before the first write to gradLogits, which may be logits.
  const RunningSoftmax all = softmaxOfRow(logits, parts, 1.0f);
  if (p.losses != nullptr && threadIndex() == 0) {
    p.losses[row] = static_cast<double>(all.max) - atLabel + static_cast<double>(logf(all.sum));
  }
  if (grad != nullptr) {
    writeGradient(logits, parts, {all.max, p.gradScale / all.sum, p.gradScale, label}, grad);
  }
}

WGQA_KERNEL void WGQA_BOUNDS(1024, 1) sumDoubles(SumDoublesArguments p) {
  constexpr int kAtOnce = 8;
  double sum = 0.0;
  for (std::int64_t first = threadIndex(); first < p.count; first += kAtOnce * blockThreads()) {
    double values[kAtOnce];
    WGQA_UNROLL
    for (int j = 0; j < kAtOnce; ++j) {
      const std::int64_t i = first + j * blockThreads();
      values[j] = i < p.count ? p.values[i] : 0.0;
    }
    WGQA_UNROLL
    for (int j = 0; j < kAtOnce; ++j) sum += values[j];
  }
  sum = blockSum(sum, dynamicShared<double>());
  if (threadIndex() == 0) p.total[0] = sum;
}

}  // namespace

std::vector<KernelEntry> crossEntropyKernels() {
  return {kernelEntry<crossEntropy<float>>(kCrossEntropyFloat32),
          kernelEntry<crossEntropy<BFloat16Element>>(kCrossEntropyBFloat16),
          kernelEntry<sumDoubles>(kSumDoubles)};
}

}  // namespace wgqa::cuda
