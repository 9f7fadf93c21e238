#include "ops/cuda/kernels/merge_constraints.h"

#include "ops/cuda/kernels/execution.h"
#include "ops/cuda/kernels/registry.h"

namespace wgqa::cuda {
namespace {

// Where this thread's element lies in the weights of its group's heads: at `begin`, and at every
// `step` elements from there up to `end`. Nowhere for threads past the last group.
struct GroupElement {
  std::int64_t begin;
  std::int64_t end;
  std::int64_t step;
};

WGQA_DEVICE GroupElement ownElement(const MergeConstraintGroups& p) {
  const std::int64_t thread = static_cast<std::int64_t>(blockX()) * blockThreads() + threadIndex();
  const std::int64_t group = thread / p.elements;
  if (group >= p.groups) return {0, 0, 1};
  const std::int64_t element = thread % p.elements;
  return {p.groupHeads[group] * p.elements + element,
          p.groupHeads[group + 1] * p.elements + element, p.elements};
}

WGQA_DEVICE float magnitudeOf(const GroupElement& own, const float* raw) {
  float sum = 0.0f;
  for (std::int64_t at = own.begin; at < own.end; at += own.step) sum += fabsf(raw[at]);
  return sum;
}

WGQA_DEVICE float dotOf(const GroupElement& own, const float* a, const float* b) {
  float sum = 0.0f;
  for (std::int64_t at = own.begin; at < own.end; at += own.step) sum += a[at] * b[at];
  return sum;
}

WGQA_DEVICE float signOf(float x) { return x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : 0.0f; }

struct Softmax {
  WGQA_DEVICE static void forward(const GroupElement& own, const MergeConstraintArguments& p) {
    if (own.begin >= own.end) return;
    float most = p.raw[own.begin];
    for (std::int64_t at = own.begin; at < own.end; at += own.step) {
      most = fmaxf(most, p.raw[at]);
    }
    float sum = 0.0f;
    for (std::int64_t at = own.begin; at < own.end; at += own.step) {
      p.weight[at] = expf(p.raw[at] - most);
      sum += p.weight[at];
    }
    for (std::int64_t at = own.begin; at < own.end; at += own.step) p.weight[at] /= sum;
  }

  WGQA_DEVICE static void backward(const GroupElement& own,
                                   const MergeConstraintBackwardArguments& p) {
    const float along = dotOf(own, p.weight, p.gradWeight);
    for (std::int64_t at = own.begin; at < own.end; at += own.step) {
      p.gradRaw[at] += p.weight[at] * (p.gradWeight[at] - along);
    }
  }
};

struct SignedUnit {
  WGQA_DEVICE static void forward(const GroupElement& own, const MergeConstraintArguments& p) {
    const float magnitude = magnitudeOf(own, p.raw);
    for (std::int64_t at = own.begin; at < own.end; at += own.step) {
      p.weight[at] = magnitude == 0.0f ? 0.0f : p.raw[at] / magnitude;
    }
  }

  WGQA_DEVICE static void backward(const GroupElement& own,
                                   const MergeConstraintBackwardArguments& p) {
    const float magnitude = magnitudeOf(own, p.raw);
    if (magnitude == 0.0f) return;
    const float along = dotOf(own, p.weight, p.gradWeight);
    for (std::int64_t at = own.begin; at < own.end; at += own.step) {
      p.gradRaw[at] += (p.gradWeight[at] - signOf(p.raw[at]) * along) / magnitude;
    }
  }
};

template <typename Constraint>
WGQA_KERNEL void WGQA_BOUNDS(kMergeConstraintThreads, 4)
    constrainMergeWeights(MergeConstraintArguments p) {
  Constraint::forward(ownElement(p.groups), p);
}

template <typename Constraint>
WGQA_KERNEL void WGQA_BOUNDS(kMergeConstraintThreads, 4)
    constrainMergeWeightsBackward(MergeConstraintBackwardArguments p) {
  Constraint::backward(ownElement(p.groups), p);
}

}  // namespace

std::vector<KernelEntry> mergeConstraintKernels() {
  return {kernelEntry<constrainMergeWeights<Softmax>>(kConstrainSoftmax),
          kernelEntry<constrainMergeWeights<SignedUnit>>(kConstrainSignedUnit),
          kernelEntry<constrainMergeWeightsBackward<Softmax>>(kConstrainSoftmaxBackward),
          kernelEntry<constrainMergeWeightsBackward<SignedUnit>>(kConstrainSignedUnitBackward)};
}

}  // namespace wgqa::cuda
