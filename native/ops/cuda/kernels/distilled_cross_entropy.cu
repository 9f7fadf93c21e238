#include "ops/cuda/kernels/distilled_cross_entropy.h"

#include "ops/cuda/kernels/registry.h"
#include "ops/cuda/kernels/softmax_row.h"

namespace wgqa::cuda {
namespace {

// The softmaxes of a row: its own, and both at the temperature.
struct Softmaxes {
  RunningSoftmax hard, own, teacher;
};

WGQA_DEVICE Softmaxes softmaxesOfRow(const float* logits, const float* teacherLogits, int vocab,
                                     float inverseTemperature) {
  const LogitsRow row(logits, vocab);
  const RunningSoftmax hard = softmaxOfRow(logits, row, 1.0f);
  blockBarrier();  // the next one uses the same memory
  const RunningSoftmax own = softmaxOfRow(logits, row, inverseTemperature);
  blockBarrier();
  const LogitsRow teacherRow(teacherLogits, vocab);
  const RunningSoftmax teacher = softmaxOfRow(teacherLogits, teacherRow, inverseTemperature);
  return {hard, own, teacher};
}

// The gradient of one element after the other, and the part of the divergence that is a sum over
// them: exp(teacher) * (teacher - own), of logits less their maximum, at the temperature.
struct DistilledGradient {
  HardGradient hard;
  RunningSoftmax own, teacher;
  float ownFactor, teacherFactor;  // softScale / sum
  float weightedSum = 0.0f;

  WGQA_DEVICE DistilledGradient(const Softmaxes& row, const DistilledCrossEntropyArguments& p,
                                int label)
      : hard{row.hard.max, p.hardScale / row.hard.sum, p.hardScale, label},
        own(row.own),
        teacher(row.teacher),
        ownFactor(p.softScale / row.own.sum),
        teacherFactor(p.softScale / row.teacher.sum) {}

  WGQA_DEVICE float next(float logit, float teacherLogit, int column) {
    const float difference = (teacherLogit - teacher.max) - (logit - own.max);
    const float teacherTerm = teacher.term(teacherLogit);
    weightedSum += teacherTerm * (difference * own.inverseTemperature);
    const float soft = own.term(logit) * ownFactor - teacherTerm * teacherFactor;
    return hard.at(logit, column) + soft;
  }
};

// As loadGroups, at the columns of another row's groups.
WGQA_DEVICE void loadBeside(const float* logits, const LogitsRow& row, int first,
                            FourFloats (&x)[kInFlight]) {
  WGQA_UNROLL
  for (int i = 0; i < kInFlight; ++i) {
    const int group = first + i * blockThreads();
    x[i] = loadFour(logits + row.columnOf(group), group < row.groups ? 4 : 0);
  }
}

template <typename Grad>
WGQA_DEVICE void writeGradient(const float* logits, const float* teacherLogits,
                               const LogitsRow& row, DistilledGradient& gradient, Grad* out) {
  for (int first = threadIndex(); first < row.groups; first += kInFlight * blockThreads()) {
    FourFloats x[kInFlight];
    FourFloats teacher[kInFlight];
    loadGroups(logits, row, first, x);
    loadBeside(teacherLogits, row, first, teacher);
    WGQA_UNROLL
    for (int i = 0; i < kInFlight; ++i) {
      const int group = first + i * blockThreads();
      if (group >= row.groups) break;
      const int column = row.columnOf(group);
      WGQA_UNROLL
      for (int j = 0; j < 4; ++j) {
        x[i].values[j] = gradient.next(x[i].values[j], teacher[i].values[j], column + j);
      }
      storeFour(x[i], out + column, 4);
    }
  }
  if (threadIndex() < row.edges) {
    const int column = row.edgeColumn(threadIndex());
    round(gradient.next(logits[column], teacherLogits[column], column), out[column]);
  }
}

template <typename Grad>
WGQA_KERNEL void WGQA_BOUNDS(512, 2) distilledCrossEntropy(DistilledCrossEntropyArguments p) {
  const std::int64_t row = blockX();
  const int label = p.labels[row];
  Grad* grad = static_cast<Grad*>(p.gradLogits) + row * p.gradStride;
  if (label == p.ignoredLabel) {
    if (threadIndex() == 0) p.losses[row] = p.distillations[row] = 0.0;
    writeZeros(p.vocab, grad);
    return;
  }
  const float* logits = p.logits + row * p.logitsStride;
  const float* teacherLogits = p.teacherLogits + row * p.teacherStride;
  const float atLabel = logits[label];
  // Its barriers come before the first write to gradLogits, which may be logits.
  const Softmaxes all = softmaxesOfRow(logits, teacherLogits, p.vocab, 1.0f / p.temperature);
  DistilledGradient gradient(all, p, label);
  writeGradient(logits, teacherLogits, LogitsRow(logits, p.vocab), gradient, grad);
  blockBarrier();  // the sum uses the memory of the last softmax
  const float weightedSum = blockSum(gradient.weightedSum, dynamicShared<float>());
  if (threadIndex() == 0) {
    const RunningSoftmax& hard = all.hard;
    p.losses[row] = static_cast<double>(hard.max) - atLabel + static_cast<double>(logf(hard.sum));
    const double divergence = static_cast<double>(weightedSum / all.teacher.sum) +
                              static_cast<double>(logf(all.own.sum)) -
                              static_cast<double>(logf(all.teacher.sum));
    p.distillations[row] = static_cast<double>(p.temperature) * p.temperature * divergence;
  }
}

}  // namespace

std::vector<KernelEntry> distilledCrossEntropyKernels() {
  return {kernelEntry<distilledCrossEntropy<float>>(kDistilledCrossEntropyFloat32),
          kernelEntry<distilledCrossEntropy<BFloat16Element>>(kDistilledCrossEntropyBFloat16)};
}

}  // namespace wgqa::cuda
