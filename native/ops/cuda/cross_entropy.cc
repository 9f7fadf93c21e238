#include "ops/cuda/kernels/cross_entropy.h"

#include "ops/cuda/grids.h"
#include "ops/cuda/kernels/distilled_cross_entropy.h"
#include "ops/cuda/operations.h"

namespace wgqa::cuda {
namespace {

// Threads of one block for so much work, in whole warps.
int threadsFor(std::int64_t work, std::int64_t workOfThread, std::int64_t mostThreads) {
  const std::int64_t warps = divideUp(divideUp(work, workOfThread), kWarpThreadCount);
  return threadsOf(std::clamp<std::int64_t>(warps, 1, mostThreads / kWarpThreadCount));
}

// A block of a row of logits.
Block rowBlock(std::int64_t vocab) {
  constexpr std::int64_t kLogitsOfThread = 16;  // that it reads at once
  constexpr std::int64_t kMostThreads = 512;
  return {threadsFor(vocab, kLogitsOfThread, kMostThreads), kReduceBytes};
}

}  // namespace

void crossEntropy(const CrossEntropy& p, Session& session) {
  const std::int64_t rows = p.logits.shape[0];
  const std::int64_t vocab = p.logits.shape[1];
  const bool isRounded = p.gradLogits.given() && p.gradLogits.dtype == DType::bfloat16;
  double* losses = nullptr;
  if (p.lossSum != nullptr) losses = session.scratch<double>(Session::Scratch::first, rows + 1);
  session.launch(isRounded ? kCrossEntropyBFloat16 : kCrossEntropyFloat32, {rows}, rowBlock(vocab),
                 {.logits = p.logits.as<float>(),
                  .labels = session.table(p.labels),
                  .gradLogits = p.gradLogits.data,
                  .losses = losses,
                  .logitsStride = p.logits.strides[0],
                  .gradStride = p.gradLogits.strides[0],
                  .vocab = static_cast<std::int32_t>(vocab),
                  .ignoredLabel = kIgnoredLabel,
                  .gradScale = p.gradScale,
                  .unused = 0});
  if (p.lossSum != nullptr) *p.lossSum += sumDoubles(losses, rows, session);
}

void distilledCrossEntropy(const DistilledCrossEntropy& p, Session& session) {
  const std::int64_t rows = p.logits.shape[0];
  const std::int64_t vocab = p.logits.shape[1];
  const bool isRounded = p.gradLogits.dtype == DType::bfloat16;
  double* losses = session.scratch<double>(Session::Scratch::first, rows + 1);
  double* distillations = session.scratch<double>(Session::Scratch::second, rows + 1);
  session.launch(isRounded ? kDistilledCrossEntropyBFloat16 : kDistilledCrossEntropyFloat32, {rows},
                 rowBlock(vocab),
                 {.logits = p.logits.as<float>(),
                  .teacherLogits = p.teacherLogits.as<float>(),
                  .labels = session.table(p.labels),
                  .gradLogits = p.gradLogits.data,
                  .losses = losses,
                  .distillations = distillations,
                  .logitsStride = p.logits.strides[0],
                  .teacherStride = p.teacherLogits.strides[0],
                  .gradStride = p.gradLogits.strides[0],
                  .vocab = static_cast<std::int32_t>(vocab),
                  .ignoredLabel = kIgnoredLabel,
                  .hardScale = (1.0f - p.teacherWeight) * p.gradScale,
                  .softScale = p.teacherWeight * p.temperature * p.gradScale,
                  .temperature = p.temperature,
                  .unused = 0});
  *p.lossSum += sumDoubles(losses, rows, session);
  *p.distillationSum += sumDoubles(distillations, rows, session);
}

double sumDoubles(double* values, std::int64_t count, Session& session) {
  constexpr std::int64_t kMostThreads = 1024;
  session.launch(kSumDoubles, {1}, {threadsFor(count, 1, kMostThreads), kDoubleReduceBytes},
                 {.values = values, .total = values + count, .count = count});
  double total = 0.0;
  session.stream().copyToHost(&total, values + count, sizeof(total));
  return total;
}

}  // namespace wgqa::cuda
