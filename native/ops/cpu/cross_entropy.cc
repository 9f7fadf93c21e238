#include <cmath>
#include <cstring>

#include "base/parallel.h"
#include "ops/cpu/grain.h"
#include "ops/cpu/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/cross_entropy.cc"
#include "hwy/foreach_target.h"

#include "ops/cpu/softmax_row_inl.h"

HWY_BEFORE_NAMESPACE();
namespace wgqa::cpu::HWY_NAMESPACE {

// gradScale * (softmax - one-hot) of one row from its exponentials and their sum.
template <class Out>
void writeGradient(const float* terms, double sum, const CrossEntropy& p, std::int64_t row) {
  const FloatTag d;
  const std::int64_t vocab = p.logits.shape[1];
  const std::int32_t label = p.labels[row];
  Out* grad = p.gradLogits.as<Out>() + row * p.gradLogits.strides[0];
  const auto factor = static_cast<float>(p.gradScale / sum);
  const float atLabel = gradientAtLabel(terms[label], factor, p.gradScale);
  for (std::int64_t i = 0; i < vocab; i += hn::Lanes(d)) {
    const std::size_t valid = lanesLeft(vocab, i);
    store(hn::Mul(load(terms + i, valid), hn::Set(d, factor)), grad + i, valid);
  }
  store(hn::Set(d, atLabel), grad + label, 1);
}

// `terms` is room for the exponentials of a row, used unless they can stand where the gradient
// will.
void crossEntropyRows(const CrossEntropy& p, std::int64_t begin, std::int64_t end, double* losses,
                      float* terms) {
  const std::int64_t vocab = p.logits.shape[1];
  const bool narrow = p.gradLogits.dtype == DType::bfloat16;
  for (std::int64_t row = begin; row < end; ++row) {
    const float* logits = p.logits.as<float>() + row * p.logits.strides[0];
    const TensorView grad = p.gradLogits.given() ? p.gradLogits.rows(row, 1) : TensorView();
    const std::int32_t label = p.labels[row];
    losses[row] = 0.0;
    if (label == kIgnoredLabel) {
      if (grad.given()) std::memset(grad.data, 0, static_cast<std::size_t>(grad.bytes()));
      continue;
    }
    const float highest = rowMaximum(logits, vocab);
    const double labelLogit = logits[label];  // read before grad, which may be logits, is written
    float* own = narrow ? terms : grad.as<float>();
    const double sum = sumOfExponentials(logits, highest, 1.0f, vocab, own);
    losses[row] = std::log(sum) + highest - labelLogit;
    if (!grad.given()) continue;
    if (narrow) {
      writeGradient<BFloat16>(own, sum, p, row);
    } else {
      writeGradient<float>(own, sum, p, row);
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
  const std::int64_t vocab = p.logits.shape[1];
  const bool needsTerms = p.gradLogits.dtype == DType::bfloat16;
  const ThreadSlices<float> terms = scratch.perThread<float>(threadCount(), needsTerms ? vocab : 0);
  parallelFor(rows, rowGrain(vocab), [&](std::int64_t begin, std::int64_t end, int thread) {
    HWY_DYNAMIC_DISPATCH(crossEntropyRows)(p, begin, end, losses, terms.of(thread));
  });
  if (p.lossSum == nullptr) return;
  for (std::int64_t row = 0; row < rows; ++row) *p.lossSum += losses[row];
}

}  // namespace wgqa::cpu
#endif
