#include "ops/cuda/kernels/cross_entropy.h"

#include "ops/cuda/kernels/constants.h"
#include "ops/cuda/kernels/groups.h"
#include "ops/cuda/kernels/reduce.h"
#include "ops/cuda/kernels/registry.h"

namespace wgqa::cuda {
namespace {

// What stands for "nothing seen yet": finite, so that nothing minus something is no NaN.
constexpr float kLowest = -3.402823466e38f;

// Groups of four logits that a thread reads before it uses the first.
constexpr int kInFlight = 4;

// A row as groups of four neighbours that begin on 16 bytes, whatever the vocabulary, and up to
// three columns before and after them: the edges, one thread each.
struct Row {
  int head;  // columns before the first group
  int groups;
  int edges;

  WGQA_DEVICE Row(const float* logits, int vocab) {
    const auto word = static_cast<int>(reinterpret_cast<std::uintptr_t>(logits) / 4 % 4);
    head = (4 - word) % 4 < vocab ? (4 - word) % 4 : vocab;
    groups = (vocab - head) / 4;
    edges = vocab - 4 * groups;
  }
  WGQA_DEVICE int columnOf(int group) const { return head + 4 * group; }
  WGQA_DEVICE int edgeColumn(int edge) const { return edge < head ? edge : edge + 4 * groups; }
};

// kInFlight groups, `blockThreads()` apart; -infinity, of no weight in a softmax, beyond the last.
WGQA_DEVICE void loadGroups(const float* logits, const Row& row, int first,
                            FourFloats (&x)[kInFlight]) {
  WGQA_UNROLL
  for (int i = 0; i < kInFlight; ++i) {
    const int group = first + i * blockThreads();
    Vector<float, 4> vector = {{kMinusInfinity, kMinusInfinity, kMinusInfinity, kMinusInfinity}};
    if (group < row.groups) vector = loadVector<4>(logits + row.columnOf(group));
    WGQA_UNROLL
    for (int j = 0; j < 4; ++j) x[i].values[j] = vector.elements[j];
  }
}

// A maximum, and the sum of exp(x - maximum) over what was seen.
struct Running {
  float max = kLowest;
  float sum = 0.0f;

  WGQA_DEVICE void raise(float most) {
    sum *= fastExp(max - most);
    max = most;
  }
  WGQA_DEVICE void add(const FourFloats (&x)[kInFlight]) {
    float most = max;
    WGQA_UNROLL
    for (int i = 0; i < kInFlight; ++i) {
      WGQA_UNROLL
      for (int j = 0; j < 4; ++j) most = fmaxf(most, x[i].values[j]);
    }
    raise(most);
    WGQA_UNROLL
    for (int i = 0; i < kInFlight; ++i) {
      WGQA_UNROLL
      for (int j = 0; j < 4; ++j) sum += fastExp(x[i].values[j] - most);
    }
  }
  WGQA_DEVICE void add(float x) {
    raise(fmaxf(max, x));
    sum += fastExp(x - max);
  }
};

// The same over the block, in every thread.
WGQA_DEVICE Running overBlock(Running own, float* shared) {
  const float most = blockMax(own.max, shared);
  blockBarrier();  // the sum uses the same memory
  own.raise(most);
  own.sum = blockSum(own.sum, shared);
  return own;
}

WGQA_DEVICE Running overRow(const float* logits, const Row& row) {
  Running own;
  for (int group = threadIndex(); group < row.groups; group += kInFlight * blockThreads()) {
    FourFloats x[kInFlight];
    loadGroups(logits, row, group, x);
    own.add(x);
  }
  if (threadIndex() < row.edges) own.add(logits[row.edgeColumn(threadIndex())]);
  return overBlock(own, dynamicShared<float>());
}

// gradScale * (softmax - one-hot) of one element.
struct Gradient {
  float max;
  float factor;  // gradScale / sum
  float gradScale;
  int label;

  WGQA_DEVICE float at(float logit, int column) const {
    const float softmax = fastExp(logit - max) * factor;
    return column == label ? softmax - gradScale : softmax;
  }
};

template <typename Grad>
WGQA_DEVICE void writeGradient(const float* logits, const Row& row, const Gradient& gradient,
                               Grad* out) {
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
WGQA_DEVICE void writeZeros(int vocab, Grad* out) {
  for (int column = 4 * threadIndex(); column < vocab; column += 4 * blockThreads()) {
    storeFour(FourFloats{}, out + column, vocab - column < 4 ? vocab - column : 4);
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
  const Row parts(logits, p.vocab);
  // Its barriers come before the first write to gradLogits, which may be logits.
  const Running all = overRow(logits, parts);
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
