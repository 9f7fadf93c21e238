#include <cmath>
#include <cstring>

#include "base/parallel.h"
#include "ops/cpu/grain.h"
#include "ops/cpu/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/distilled_cross_entropy.cc"
#include "hwy/foreach_target.h"

#include "ops/cpu/softmax_row_inl.h"

HWY_BEFORE_NAMESPACE();
namespace wgqa::cpu::HWY_NAMESPACE {

// exp((logits - highest) / temperature) of a row, and their sum.
struct Exponentials {
  const float* logits = nullptr;
  float highest = 0.0f;
  float inverseTemperature = 1.0f;
  const float* terms = nullptr;
  double sum = 0.0;
};

Exponentials exponentials(const float* logits, float highest, float inverseTemperature,
                          std::int64_t vocab, float* terms) {
  const double sum = sumOfExponentials(logits, highest, inverseTemperature, vocab, terms);
  return {logits, highest, inverseTemperature, terms, sum};
}

// KL(teacher || own), both of one temperature.
double divergence(const Exponentials& teacher, const Exponentials& own, std::int64_t vocab) {
  const FloatTag d;
  const FloatVector teacherShift = hn::Set(d, teacher.highest);
  const FloatVector ownShift = hn::Set(d, own.highest);
  const FloatVector factor = hn::Set(d, own.inverseTemperature);
  const double weighted = sumOverRow(vocab, [&](std::int64_t i, std::size_t valid) HWY_ATTR {
    const FloatVector teacherLogit = hn::Sub(load(teacher.logits + i, valid), teacherShift);
    const FloatVector ownLogit = hn::Sub(load(own.logits + i, valid), ownShift);
    const FloatVector difference = hn::Mul(hn::Sub(teacherLogit, ownLogit), factor);
    return hn::Mul(load(teacher.terms + i, valid), difference);
  });
  return weighted / teacher.sum + std::log(own.sum) - std::log(teacher.sum);
}

// The rows that a gradient is made of, and what each is multiplied by.
struct GradientParts {
  Exponentials hard, own, teacher;
  float hardScale = 0.0f;  // (1 - w) * gradScale
  float softScale = 0.0f;  // w * T * gradScale
};

template <class Out>
void writeGradient(const GradientParts& parts, std::int32_t label, std::int64_t vocab, Out* grad) {
  const FloatTag d;
  const auto hardFactor = static_cast<float>(parts.hardScale / parts.hard.sum);
  const auto ownFactor = static_cast<float>(parts.softScale / parts.own.sum);
  const auto teacherFactor = static_cast<float>(parts.softScale / parts.teacher.sum);
  const auto soft = [&](std::int64_t i, std::size_t valid) HWY_ATTR {
    const FloatVector own = load(parts.own.terms + i, valid);
    const FloatVector teacher = load(parts.teacher.terms + i, valid);
    return hn::Sub(hn::Mul(own, hn::Set(d, ownFactor)),
                   hn::Mul(teacher, hn::Set(d, teacherFactor)));
  };
  for (std::int64_t i = 0; i < vocab; i += hn::Lanes(d)) {
    const std::size_t valid = lanesLeft(vocab, i);
    const FloatVector hard = load(parts.hard.terms + i, valid);
    store(hn::MulAdd(hard, hn::Set(d, hardFactor), soft(i, valid)), grad + i, valid);
  }
  const float hard = gradientAtLabel(parts.hard.terms[label], hardFactor, parts.hardScale);
  store(hn::Add(hn::Set(d, hard), soft(label, 1)), grad + label, 1);
}

// `terms` is room for the exponentials of three rows: the gradient may overwrite the logits.
void distilledRows(const DistilledCrossEntropy& p, std::int64_t begin, std::int64_t end,
                   double* losses, double* divergences, float* terms) {
  const std::int64_t vocab = p.logits.shape[1];
  const float inverseTemperature = 1.0f / p.temperature;
  for (std::int64_t row = begin; row < end; ++row) {
    const TensorView grad = p.gradLogits.rows(row, 1);
    const std::int32_t label = p.labels[row];
    losses[row] = 0.0;
    divergences[row] = 0.0;
    if (label == kIgnoredLabel) {
      std::memset(grad.data, 0, static_cast<std::size_t>(grad.bytes()));
      continue;
    }
    const float* logits = p.logits.as<float>() + row * p.logits.strides[0];
    const float* teacher = p.teacherLogits.as<float>() + row * p.teacherLogits.strides[0];
    const float highest = rowMaximum(logits, vocab);
    const GradientParts parts{
        .hard = exponentials(logits, highest, 1.0f, vocab, terms),
        .own = exponentials(logits, highest, inverseTemperature, vocab, terms + vocab),
        .teacher = exponentials(teacher, rowMaximum(teacher, vocab), inverseTemperature, vocab,
                                terms + 2 * vocab),
        .hardScale = (1.0f - p.teacherWeight) * p.gradScale,
        .softScale = p.teacherWeight * p.temperature * p.gradScale};
    losses[row] = std::log(parts.hard.sum) + highest - double{logits[label]};
    divergences[row] = divergence(parts.teacher, parts.own, vocab);
    if (grad.dtype == DType::bfloat16) {
      writeGradient(parts, label, vocab, grad.as<BFloat16>());
    } else {
      writeGradient(parts, label, vocab, grad.as<float>());
    }
  }
}

}  // namespace wgqa::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wgqa::cpu {
namespace {
HWY_EXPORT(distilledRows);
}

void distilledCrossEntropy(const DistilledCrossEntropy& p, Scratch& scratch) {
  const std::int64_t rows = p.logits.shape[0];
  const std::int64_t vocab = p.logits.shape[1];
  double* losses = scratch.shared<double>(SharedScratch::first, rows);
  double* divergences = scratch.shared<double>(SharedScratch::second, rows);
  const ThreadSlices<float> terms = scratch.perThread<float>(threadCount(), 3 * vocab);
  parallelFor(rows, rowGrain(vocab), [&](std::int64_t begin, std::int64_t end, int thread) {
    HWY_DYNAMIC_DISPATCH(distilledRows)(p, begin, end, losses, divergences, terms.of(thread));
  });
  const double squaredTemperature = double{p.temperature} * p.temperature;
  for (std::int64_t row = 0; row < rows; ++row) {
    *p.lossSum += losses[row];
    *p.distillationSum += squaredTemperature * divergences[row];
  }
}

}  // namespace wgqa::cpu
#endif
