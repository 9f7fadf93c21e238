#include <algorithm>
#include <cmath>

#include "ops/reference/functions.h"
#include "ops/reference/reference_ops.h"

namespace wgqa::reference {

Loss crossEntropy(const Wide& logits, std::span<const std::int32_t> labels, std::int64_t vocab) {
  Loss result{0.0, Wide(logits.size())};
  for (std::size_t row = 0; row < labels.size(); ++row) {
    if (labels[row] == kIgnoredLabel) continue;
    const double* scores = &logits[row * vocab];
    double* grad = &result.gradLogits[row * vocab];
    const double largest = *std::max_element(scores, scores + vocab);
    double sum = 0.0;
    for (std::int64_t i = 0; i < vocab; ++i) sum += std::exp(scores[i] - largest);
    for (std::int64_t i = 0; i < vocab; ++i) grad[i] = std::exp(scores[i] - largest) / sum;
    grad[labels[row]] -= 1.0;
    result.sum += largest + std::log(sum) - scores[labels[row]];
  }
  return result;
}

void ReferenceOps::crossEntropy(const CrossEntropy& p) {
  Loss result = reference::crossEntropy(load(p.logits), p.labels, p.logits.shape[1]);
  if (p.lossSum != nullptr) *p.lossSum += result.sum;
  for (double& value : result.gradLogits) value *= p.gradScale;
  storeIfGiven(result.gradLogits, p.gradLogits);
}

}  // namespace wgqa::reference
