// A block's softmax over one row of logits, and what the losses write of it.
#pragma once

#include "ops/cuda/kernels/constants.h"
#include "ops/cuda/kernels/groups.h"
#include "ops/cuda/kernels/reduce.h"

namespace wgqa::cuda {

/// What stands for "nothing seen yet": finite, so that nothing minus something is no NaN.
inline constexpr float kLowest = -3.402823466e38f;

/// Groups of four logits that a thread reads before it uses the first.
inline constexpr int kInFlight = 4;

/// A row as groups of four neighbours that begin on 16 bytes, whatever the vocabulary, and up to
/// three columns before and after them: the edges, one thread each.
struct LogitsRow {
  int head;  // columns before the first group
  int groups;
  int edges;

  WGQA_DEVICE LogitsRow(const float* logits, int vocab) {
    const auto word = static_cast<int>(reinterpret_cast<std::uintptr_t>(logits) / 4 % 4);
    head = (4 - word) % 4 < vocab ? (4 - word) % 4 : vocab;
    groups = (vocab - head) / 4;
    edges = vocab - 4 * groups;
  }
  WGQA_DEVICE int columnOf(int group) const { return head + 4 * group; }
  WGQA_DEVICE int edgeColumn(int edge) const { return edge < head ? edge : edge + 4 * groups; }
};

/// kInFlight groups, `blockThreads()` apart; -infinity, of no weight in a softmax, beyond the last.
WGQA_DEVICE void loadGroups(const float* logits, const LogitsRow& row, int first,
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

/// A maximum, and the sum of exp((x - maximum) * inverseTemperature) over what was seen.
struct RunningSoftmax {
  float inverseTemperature;
  float max = kLowest;
  float sum = 0.0f;

  WGQA_DEVICE float term(float x) const { return fastExp((x - max) * inverseTemperature); }
  WGQA_DEVICE void raise(float most) {
    sum *= fastExp((max - most) * inverseTemperature);
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
      for (int j = 0; j < 4; ++j) sum += term(x[i].values[j]);
    }
  }
  WGQA_DEVICE void add(float x) {
    raise(fmaxf(max, x));
    sum += term(x);
  }
};

/// The same over the block, in every thread.
WGQA_DEVICE RunningSoftmax overBlock(RunningSoftmax own, float* shared) {
  const float most = blockMax(own.max, shared);
  blockBarrier();  // the sum uses the same memory
  own.raise(most);
  own.sum = blockSum(own.sum, shared);
  return own;
}

/// A block's, of a row. Uses dynamicShared(), which is free after the next barrier.
WGQA_DEVICE RunningSoftmax softmaxOfRow(const float* logits, const LogitsRow& row,
                                        float inverseTemperature) {
  RunningSoftmax own{inverseTemperature};
  for (int group = threadIndex(); group < row.groups; group += kInFlight * blockThreads()) {
    FourFloats x[kInFlight];
    loadGroups(logits, row, group, x);
    own.add(x);
  }
  if (threadIndex() < row.edges) own.add(logits[row.edgeColumn(threadIndex())]);
  return overBlock(own, dynamicShared<float>());
}

/// gradScale * (softmax - one-hot) of one element.
struct HardGradient {
  float max;
  float factor;  // gradScale / sum
  float gradScale;
  int label;

  WGQA_DEVICE float at(float logit, int column) const {
    // Spelled out: a compiler that fused it in one kernel alone would give two kernels other bits.
    return fusedMultiplyAdd(fastExp(logit - max), factor, column == label ? -gradScale : 0.0f);
  }
};

template <typename Grad>
WGQA_DEVICE void writeZeros(int vocab, Grad* out) {
  for (int column = 4 * threadIndex(); column < vocab; column += 4 * blockThreads()) {
    storeFour(FourFloats{}, out + column, vocab - column < 4 ? vocab - column : 4);
  }
}

}  // namespace wgqa::cuda
