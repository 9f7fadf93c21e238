#include "ops/cuda/kernels/cross_entropy.h"

#include "ops/cuda/kernels/groups.h"
#include "ops/cuda/kernels/reduce.h"
#include "ops/cuda/kernels/registry.h"

namespace wgqa::cuda {
namespace {

constexpr float kMinusInfinity = -__builtin_inff();

WGQA_DEVICE int validAt(std::int64_t column, std::int64_t columns) {
  return columns - column < 4 ? static_cast<int>(columns - column) : 4;
}

// A maximum, and the sum of exp(x - maximum) over what was seen.
struct Running {
  float max = kMinusInfinity;
  float sum = 0.0f;

  WGQA_DEVICE void add(const FourFloats& x, int valid) {
    float most = max;
    WGQA_UNROLL
    for (int i = 0; i < 4; ++i) {
      if (i < valid) most = fmaxf(most, x.values[i]);
    }
    if (most == kMinusInfinity) return;
    sum *= expf(max - most);
    max = most;
    WGQA_UNROLL
    for (int i = 0; i < 4; ++i) {
      if (i < valid) sum += expf(x.values[i] - most);
    }
  }
};

// The same over the block.
WGQA_DEVICE Running overBlock(Running own, float* shared) {
  Running all;
  all.max = blockMax(own.max, shared);
  blockBarrier();  // the sum uses the same memory
  const float scaled = own.max == kMinusInfinity ? 0.0f : own.sum * expf(own.max - all.max);
  all.sum = blockSum(scaled, shared);
  return all;
}

template <typename Grad>
WGQA_DEVICE void writeGradient(const CrossEntropyArguments& p, std::int64_t row, int label,
                               const Running& all) {
  const float* logits = p.logits + row * p.vocab;
  Grad* grad = static_cast<Grad*>(p.gradLogits) + row * p.vocab;
  const bool isCounted = label != p.ignoredLabel;
  const float scale = isCounted ? p.gradScale / all.sum : 0.0f;
  for (std::int64_t i = 4 * threadIndex(); i < p.vocab; i += 4 * blockThreads()) {
    const int valid = validAt(i, p.vocab);
    FourFloats x{};
    if (isCounted) x = loadFour(logits + i, valid);
    WGQA_UNROLL
    for (int j = 0; j < 4; ++j) {
      x.values[j] = isCounted ? expf(x.values[j] - all.max) * scale : 0.0f;
      if (i + j == label) x.values[j] -= p.gradScale;
    }
    storeFour(x, grad + i, valid);
  }
}

template <typename Grad>
WGQA_KERNEL void WGQA_BOUNDS(512, 2) crossEntropy(CrossEntropyArguments p) {
  const std::int64_t row = blockX();
  const int label = p.labels[row];
  Running all;
  if (label != p.ignoredLabel) {
    const float* logits = p.logits + row * p.vocab;
    const float atLabel = logits[label];
    Running own;
    for (std::int64_t i = 4 * threadIndex(); i < p.vocab; i += 4 * blockThreads()) {
      own.add(loadFour(logits + i, validAt(i, p.vocab)), validAt(i, p.vocab));
    }
    // Its barriers also come before the first write to gradLogits, which may be logits.
    all = overBlock(own, dynamicShared<float>());
    if (threadIndex() == 0) {
      p.losses[row] = static_cast<double>(all.max - atLabel) + static_cast<double>(logf(all.sum));
    }
  } else if (threadIndex() == 0) {
    p.losses[row] = 0.0;
  }
  if (p.gradLogits != nullptr) writeGradient<Grad>(p, row, label, all);
}

WGQA_KERNEL void WGQA_BOUNDS(256, 1) sumDoubles(SumDoublesArguments p) {
  double sum = 0.0;
  for (std::int64_t i = threadIndex(); i < p.count; i += blockThreads()) sum += p.values[i];
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
