#include <cmath>

#include "base/parallel.h"
#include "ops/cpu/grain.h"
#include "ops/cpu/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/cross_entropy.cc"
#include "hwy/foreach_target.h"

#include "ops/cpu/simd_inl.h"

HWY_BEFORE_NAMESPACE();
namespace wgqa::cpu::HWY_NAMESPACE {

float rowMaximum(const float* logits, std::int64_t vocab) {
  const FloatTag d;
  FloatVector highest = hn::Set(d, logits[0]);
  std::int64_t i = 0;
  for (; i + static_cast<std::int64_t>(hn::Lanes(d)) <= vocab; i += hn::Lanes(d)) {
    highest = hn::Max(highest, hn::LoadU(d, logits + i));
  }
  float result = hn::GetLane(hn::MaxOfLanes(d, highest));
  for (; i < vocab; ++i) result = std::max(result, logits[i]);
  return result;
}

// The sum of exp(logits - highest); the terms go to `terms` unless it is null.
double sumOfExponentials(const float* logits, float highest, std::int64_t vocab, float* terms) {
  // Float sums over short stretches, joined in double: exact enough for any vocabulary.
  constexpr std::int64_t kStretch = 1024;
  const FloatTag d;
  const FloatVector shift = hn::Set(d, highest);
  double total = 0.0;
  for (std::int64_t begin = 0; begin < vocab; begin += kStretch) {
    const std::int64_t end = std::min(begin + kStretch, vocab);
    FloatVector sum = hn::Zero(d);
    for (std::int64_t i = begin; i < end; i += hn::Lanes(d)) {
      const std::size_t valid = lanesLeft(end, i);
      const FloatVector term = hn::Exp(d, hn::Sub(load(logits + i, valid), shift));
      if (terms != nullptr) store(term, terms + i, valid);
      sum = hn::Add(sum, hn::IfThenElseZero(hn::FirstN(d, valid), term));
    }
    total += sumOfLanes(sum);
  }
  return total;
}

void crossEntropyRows(const CrossEntropy& p, std::int64_t begin, std::int64_t end, double* losses) {
  const std::int64_t vocab = p.logits.shape[1];
  for (std::int64_t row = begin; row < end; ++row) {
    const float* logits = p.logits.as<float>() + row * p.logits.strides[0];
    float* grad =
        p.gradLogits.given() ? p.gradLogits.as<float>() + row * p.gradLogits.strides[0] : nullptr;
    const std::int32_t label = p.labels[row];
    losses[row] = 0.0;
    if (label == kIgnoredLabel) {
      if (grad != nullptr) std::fill_n(grad, vocab, 0.0f);
      continue;
    }
    const float highest = rowMaximum(logits, vocab);
    const double labelLogit = logits[label];  // read before grad, which may be logits, is written
    const double sum = sumOfExponentials(logits, highest, vocab, grad);
    losses[row] = std::log(sum) + highest - labelLogit;
    if (grad != nullptr) {
      scaleInto(grad, static_cast<float>(p.gradScale / sum), vocab, grad);
      grad[label] -= p.gradScale;
    }
  }
}

}  // namespace wgqa::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wgqa::cpu {
namespace {
HWY_EXPORT(crossEntropyRows);
}

void crossEntropy(const CrossEntropy& p, Scratch& scratch) {
  const std::int64_t rows = p.logits.shape[0];
  double* losses = scratch.shared<double>(SharedScratch::first, rows);
  parallelFor(rows, rowGrain(p.logits.shape[1]), [&](std::int64_t begin, std::int64_t end, int) {
    HWY_DYNAMIC_DISPATCH(crossEntropyRows)(p, begin, end, losses);
  });
  if (p.lossSum == nullptr) return;
  for (std::int64_t row = 0; row < rows; ++row) *p.lossSum += losses[row];
}

}  // namespace wgqa::cpu
#endif
