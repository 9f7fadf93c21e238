// Softmax over one row of logits, as the losses use it. Compiled once per target.
#if defined(WGQA_OPS_CPU_SOFTMAX_ROW_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef WGQA_OPS_CPU_SOFTMAX_ROW_INL_H_
#undef WGQA_OPS_CPU_SOFTMAX_ROW_INL_H_
#else
#define WGQA_OPS_CPU_SOFTMAX_ROW_INL_H_
#endif

#include "ops/cpu/simd_inl.h"

HWY_BEFORE_NAMESPACE();
namespace wgqa::cpu::HWY_NAMESPACE {

HWY_INLINE float rowMaximum(const float* logits, std::int64_t vocab) {
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

/// The sum over a row of term(index, valid), a vector of its elements from `index` on. Float sums
/// over short stretches, joined in double: exact enough for any vocabulary.
template <class Term>
HWY_INLINE double sumOverRow(std::int64_t vocab, const Term& term) {
  constexpr std::int64_t kStretch = 1024;
  const FloatTag d;
  double total = 0.0;
  for (std::int64_t begin = 0; begin < vocab; begin += kStretch) {
    const std::int64_t end = std::min(begin + kStretch, vocab);
    FloatVector sum = hn::Zero(d);
    for (std::int64_t i = begin; i < end; i += hn::Lanes(d)) {
      const std::size_t valid = lanesLeft(end, i);
      sum = hn::Add(sum, hn::IfThenElseZero(hn::FirstN(d, valid), term(i, valid)));
    }
    total += sumOfLanes(sum);
  }
  return total;
}

/// The sum of exp((logits - highest) * inverseTemperature); the terms go to `terms` unless it is
/// null.
HWY_INLINE double sumOfExponentials(const float* logits, float highest, float inverseTemperature,
                                    std::int64_t vocab, float* terms) {
  const FloatTag d;
  const FloatVector shift = hn::Set(d, highest);
  const FloatVector factor = hn::Set(d, inverseTemperature);
  return sumOverRow(vocab, [&](std::int64_t i, std::size_t valid) HWY_ATTR {
    const FloatVector shifted = hn::Sub(load(logits + i, valid), shift);
    const FloatVector term = hn::Exp(d, hn::Mul(shifted, factor));
    if (terms != nullptr) store(term, terms + i, valid);
    return term;
  });
}

/// scale * (softmax - 1), where factor = scale / the sum of the terms.
HWY_INLINE float gradientAtLabel(float term, float factor, float scale) {
  return term * factor - scale;
}

}  // namespace wgqa::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
