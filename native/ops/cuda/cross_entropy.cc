#include "ops/cuda/kernels/cross_entropy.h"

#include "ops/cuda/grids.h"
#include "ops/cuda/operations.h"

namespace wgqa::cuda {
namespace {

constexpr int kRowThreads = 512;
constexpr int kSumThreads = 256;

}  // namespace

void crossEntropy(const CrossEntropy& p, Session& session) {
  const std::int64_t rows = p.logits.shape[0];
  const bool isRounded = p.gradLogits.given() && p.gradLogits.dtype == DType::bfloat16;
  auto* losses = session.scratch<double>(Session::Scratch::first, rows + 1);
  session.launch(isRounded ? kCrossEntropyBFloat16 : kCrossEntropyFloat32, {rows},
                 {kRowThreads, kReduceBytes},
                 {.logits = p.logits.as<float>(),
                  .labels = session.table(p.labels),
                  .gradLogits = p.gradLogits.data,
                  .losses = losses,
                  .vocab = p.logits.shape[1],
                  .ignoredLabel = kIgnoredLabel,
                  .gradScale = p.gradScale});
  if (p.lossSum != nullptr) *p.lossSum += sumDoubles(losses, rows, session);
}

double sumDoubles(double* values, std::int64_t count, Session& session) {
  session.launch(kSumDoubles, {1}, {kSumThreads, 32 * sizeof(double)},
                 {.values = values, .total = values + count, .count = count});
  double total = 0.0;
  session.stream().copyToHost(&total, values + count, sizeof(total));
  return total;
}

}  // namespace wgqa::cuda
