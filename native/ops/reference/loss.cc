#include <algorithm>
#include <cmath>

#include "ops/reference/functions.h"
#include "ops/reference/reference_ops.h"

namespace wgqa::reference {
namespace {

Wide logSoftmax(const double* logits, std::int64_t vocab, double temperature) {
  Wide result(logits, logits + vocab);
  for (double& value : result) value /= temperature;
  const double largest = *std::max_element(result.begin(), result.end());
  double sum = 0.0;
  for (const double value : result) sum += std::exp(value - largest);
  for (double& value : result) value -= largest + std::log(sum);
  return result;
}

}  // namespace

Loss crossEntropy(const Wide& logits, std::span<const std::int32_t> labels, std::int64_t vocab) {
  Loss result{0.0, Wide(logits.size())};
  for (std::size_t row = 0; row < labels.size(); ++row) {
    if (labels[row] == kIgnoredLabel) continue;
    const Wide logProbabilities = logSoftmax(&logits[row * vocab], vocab, 1.0);
    double* grad = &result.gradLogits[row * vocab];
    for (std::int64_t i = 0; i < vocab; ++i) grad[i] = std::exp(logProbabilities[i]);
    grad[labels[row]] -= 1.0;
    result.sum -= logProbabilities[labels[row]];
  }
  return result;
}

DistilledLoss distilledCrossEntropy(const Wide& logits, const Wide& teacherLogits,
                                    std::span<const std::int32_t> labels, const Distillation& p) {
  const Loss hard = crossEntropy(logits, labels, p.vocab);
  DistilledLoss result{hard.sum, 0.0, hard.gradLogits};
  for (double& value : result.gradLogits) value *= 1.0 - p.teacherWeight;
  const double temperature = p.temperature;
  for (std::size_t row = 0; row < labels.size(); ++row) {
    if (labels[row] == kIgnoredLabel) continue;
    const Wide own = logSoftmax(&logits[row * p.vocab], p.vocab, temperature);
    const Wide teacher = logSoftmax(&teacherLogits[row * p.vocab], p.vocab, temperature);
    double* grad = &result.gradLogits[row * p.vocab];
    double divergence = 0.0;
    for (std::int64_t i = 0; i < p.vocab; ++i) {
      divergence += std::exp(teacher[i]) * (teacher[i] - own[i]);
      grad[i] += p.teacherWeight * temperature * (std::exp(own[i]) - std::exp(teacher[i]));
    }
    result.distillation += temperature * temperature * divergence;
  }
  return result;
}

void ReferenceOps::crossEntropy(const CrossEntropy& p) {
  Loss result = reference::crossEntropy(load(p.logits), p.labels, p.logits.shape[1]);
  if (p.lossSum != nullptr) *p.lossSum += result.sum;
  for (double& value : result.gradLogits) value *= p.gradScale;
  storeIfGiven(result.gradLogits, p.gradLogits);
}

void ReferenceOps::distilledCrossEntropy(const DistilledCrossEntropy& p) {
  DistilledLoss result =
      reference::distilledCrossEntropy(load(p.logits), load(p.teacherLogits), p.labels,
                                       {p.logits.shape[1], p.teacherWeight, p.temperature});
  *p.lossSum += result.crossEntropy;
  *p.distillationSum += result.distillation;
  for (double& value : result.gradLogits) value *= p.gradScale;
  store(result.gradLogits, p.gradLogits);
}

}  // namespace wgqa::reference
