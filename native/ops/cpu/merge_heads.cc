#include "base/parallel.h"
#include "ops/cpu/grain.h"
#include "ops/cpu/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/merge_heads.cc"
#include "hwy/foreach_target.h"

#include "ops/cpu/simd_inl.h"

HWY_BEFORE_NAMESPACE();
namespace wgqa::cpu::HWY_NAMESPACE {

// to = base * weight, elementwise.
void multiplyRow(const float* base, const float* weight, std::int64_t count, float* to) {
  for (std::int64_t i = 0; i < count; i += hn::Lanes(FloatTag())) {
    const std::size_t valid = lanesLeft(count, i);
    store(hn::Mul(load(base + i, valid), load(weight + i, valid)), to + i, valid);
  }
}

// to += a * b, elementwise.
void multiplyAddRow(const float* a, const float* b, std::int64_t count, float* to) {
  for (std::int64_t i = 0; i < count; i += hn::Lanes(FloatTag())) {
    const std::size_t valid = lanesLeft(count, i);
    store(hn::MulAdd(load(a + i, valid), load(b + i, valid), load(to + i, valid)), to + i, valid);
  }
}

// to += a * factor.
void scaleAddRow(const float* a, float factor, std::int64_t count, float* to) {
  const FloatVector scale = hn::Set(FloatTag(), factor);
  for (std::int64_t i = 0; i < count; i += hn::Lanes(FloatTag())) {
    const std::size_t valid = lanesLeft(count, i);
    store(hn::MulAdd(load(a + i, valid), scale, load(to + i, valid)), to + i, valid);
  }
}

// Rows [begin, end) of merged seen as [kvHeads * headDim, dModel].
void mergeHeadsRows(const MergeHeads& p, std::int64_t begin, std::int64_t end) {
  const std::int64_t headDim = p.base.shape[1];
  const std::int64_t dModel = p.base.shape[2];
  const auto heads = static_cast<std::int64_t>(p.kvHeadOf.size());
  const float* weights = p.weight.as<float>();
  for (std::int64_t row = begin; row < end; ++row) {
    const std::int64_t group = row / headDim;
    const std::int64_t inHead = row % headDim;
    float* merged = p.merged.as<float>() + row * dModel;
    bool first = true;
    for (std::int64_t head = 0; head < heads; ++head) {
      if (p.kvHeadOf[head] != group) continue;
      const float* base = p.base.as<float>() + (head * headDim + inHead) * dModel;
      if (p.granularity == MergeGranularity::row) {
        const float* weight = weights + head * dModel;
        if (first) {
          multiplyRow(base, weight, dModel, merged);
        } else {
          multiplyAddRow(base, weight, dModel, merged);
        }
      } else {
        const bool perColumn = p.granularity == MergeGranularity::column;
        const float weight = perColumn ? weights[head * headDim + inHead] : weights[head];
        if (first) {
          scaleInto(base, weight, dModel, merged);
        } else {
          scaleAddRow(base, weight, dModel, merged);
        }
      }
      first = false;
    }
  }
}

// gradBase and gradWeight of whole heads: one thread sums each weight's gradient, row after row.
void mergeHeadsBackwardOf(const MergeHeadsBackward& p, std::int64_t begin, std::int64_t end) {
  const std::int64_t headDim = p.base.shape[1];
  const std::int64_t dModel = p.base.shape[2];
  const float* weights = p.weight.as<float>();
  float* gradWeights = p.gradWeight.as<float>();
  for (std::int64_t head = begin; head < end; ++head) {
    double headSum = 0.0;
    for (std::int64_t inHead = 0; inHead < headDim; ++inHead) {
      const std::int64_t row = head * headDim + inHead;
      const float* base = p.base.as<float>() + row * dModel;
      const float* gradMerged =
          p.gradMerged.as<float>() + (p.kvHeadOf[head] * headDim + inHead) * dModel;
      float* gradBase = p.gradBase.given() ? p.gradBase.as<float>() + row * dModel : nullptr;
      if (p.granularity == MergeGranularity::row) {
        const std::int64_t offset = head * dModel;
        multiplyAddRow(base, gradMerged, dModel, gradWeights + offset);
        if (gradBase != nullptr) multiplyAddRow(gradMerged, weights + offset, dModel, gradBase);
        continue;
      }
      const bool perColumn = p.granularity == MergeGranularity::column;
      const float dot = dotProduct(base, gradMerged, dModel);
      if (perColumn) {
        gradWeights[row] += dot;
      } else {
        headSum += dot;
      }
      const float weight = perColumn ? weights[row] : weights[head];
      if (gradBase != nullptr) scaleAddRow(gradMerged, weight, dModel, gradBase);
    }
    if (p.granularity == MergeGranularity::head) {
      gradWeights[head] += static_cast<float>(headSum);
    }
  }
}

}  // namespace wgqa::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wgqa::cpu {
namespace {
HWY_EXPORT(mergeHeadsRows);
HWY_EXPORT(mergeHeadsBackwardOf);
}  // namespace

void mergeHeads(const MergeHeads& p) {
  parallelFor(p.merged.shape[0] * p.merged.shape[1], rowGrain(p.merged.shape[2]),
              [&](std::int64_t begin, std::int64_t end, int) {
                HWY_DYNAMIC_DISPATCH(mergeHeadsRows)(p, begin, end);
              });
}

void mergeHeadsBackward(const MergeHeadsBackward& p) {
  parallelFor(p.base.shape[0], rowGrain(p.base.shape[1] * p.base.shape[2]),
              [&](std::int64_t begin, std::int64_t end, int) {
                HWY_DYNAMIC_DISPATCH(mergeHeadsBackwardOf)(p, begin, end);
              });
}

}  // namespace wgqa::cpu
#endif
