#include "ops/cuda/kernels/optimiser.h"

#include <cmath>

#include "ops/cuda/grids.h"
#include "ops/cuda/operations.h"

namespace wgqa::cuda {
namespace {

constexpr int kThreads = 256;
constexpr std::int64_t kDoubleReduceBytes = 32 * sizeof(double);
constexpr std::int64_t kMostSlices = 64;

// All tensors of these sizes, cut into chunks.
template <typename Tensors, typename Count>
std::vector<Chunk> chunksOf(const Tensors& tensors, const Count& count) {
  std::vector<Chunk> chunks;
  for (std::int64_t tensor = 0; tensor < std::ssize(tensors); ++tensor) {
    const std::int64_t elements = count(tensors[static_cast<std::size_t>(tensor)]);
    for (std::int64_t begin = 0; begin < elements; begin += kChunkElements) {
      chunks.push_back({tensor, begin});
    }
  }
  return chunks;
}

template <typename T>
const T* tableOf(const std::vector<T>& values, Session& session) {
  return session.table(std::span<const T>(values));
}

AdafactorArguments argumentsOf(const Adafactor& p, const Adafactor::Parameter& parameter,
                               Session& session) {
  const std::int64_t rows = parameter.value.shape[0];
  const std::int64_t columns = parameter.value.shape[1];
  const std::int64_t rowsPerSlice = divideUp(rows, kMostSlices);
  const std::int64_t slices = divideUp(rows, rowsPerSlice);
  const std::int64_t blocks = stridedBlocks(divideUp(rows * columns, kThreads), session);
  using Scratch = Session::Scratch;
  return {.value = parameter.value.as<float>(),
          .grad = parameter.grad.as<float>(),
          .rowMoment = parameter.rowMoment.as<float>(),
          .columnMoment = parameter.columnMoment.as<float>(),
          .moment = parameter.moment.as<float>(),
          .columnSums = session.scratch<float>(Scratch::first, slices * columns),
          .sums = session.scratch<double>(Scratch::second, 2 * blocks),
          .totals = session.scratch<float>(Scratch::third, 3),
          .rows = rows,
          .columns = columns,
          .rowsPerSlice = rowsPerSlice,
          .slices = slices,
          .blocks = blocks,
          .decay = static_cast<float>(1.0 - std::pow(static_cast<double>(p.step), p.decayRate)),
          .gradEpsilon = p.gradEpsilon,
          .gradScale = p.gradScale,
          .parameterEpsilon = p.parameterEpsilon,
          .clipThreshold = p.clipThreshold,
          .learningRate = p.learningRate,
          .weightDecay = parameter.weightDecay,
          .scalesByParameter = p.scaleByParameter ? 1 : 0};
}

void updateFactors(const AdafactorArguments& arguments, Session& session) {
  const std::int64_t columnBlocks = divideUp(arguments.columns, kThreads);
  session.launch(kAdafactorRows, {arguments.rows}, {kThreads, kReduceBytes}, arguments);
  session.launch(kAdafactorColumns, {columnBlocks, arguments.slices}, {kThreads}, arguments);
  session.launch(kAdafactorColumnMoments, {columnBlocks}, {kThreads}, arguments);
  session.launch(kAdafactorRowMean, {1}, {kThreads, kReduceBytes}, arguments);
}

}  // namespace

void adamW(const AdamW& p, Session& session) {
  std::vector<AdamWTensor> tensors;
  for (const AdamW::Parameter& parameter : p.parameters) {
    tensors.push_back({.value = parameter.value.as<float>(),
                       .grad = parameter.grad.as<float>(),
                       .firstMoment = parameter.firstMoment.as<float>(),
                       .secondMoment = parameter.secondMoment.as<float>(),
                       .count = parameter.value.elements(),
                       .decayFactor = 1.0f - p.learningRate * parameter.weightDecay,
                       .unused = 0.0f});
  }
  const auto chunks = chunksOf(tensors, [](const AdamWTensor& tensor) { return tensor.count; });
  const auto step = static_cast<double>(p.step);
  session.launch(
      kAdamW, {std::ssize(chunks)}, {kThreads},
      {.chunks = tableOf(chunks, session),
       .tensors = tableOf(tensors, session),
       .beta1 = p.beta1,
       .beta2 = p.beta2,
       .epsilon = p.epsilon,
       .gradScale = p.gradScale,
       .stepSize = static_cast<float>(p.learningRate / (1.0 - std::pow(double{p.beta1}, step))),
       .inverseRootCorrection =
           static_cast<float>(1.0 / std::sqrt(1.0 - std::pow(double{p.beta2}, step)))});
}

void adafactor(const Adafactor& p, Session& session) {
  for (const Adafactor::Parameter& parameter : p.parameters) {
    const AdafactorArguments arguments = argumentsOf(p, parameter, session);
    if (arguments.moment == nullptr) updateFactors(arguments, session);
    session.launch(kAdafactorSquares, {arguments.blocks}, {kThreads, kDoubleReduceBytes},
                   arguments);
    session.launch(kAdafactorTotals, {1}, {kThreads, kDoubleReduceBytes}, arguments);
    session.launch(kAdafactorUpdate, {arguments.blocks}, {kThreads}, arguments);
  }
}

double squaredNorm(std::span<const ConstTensorView> tensors, Session& session) {
  std::vector<SquaresTensor> squares;
  for (const ConstTensorView& tensor : tensors) {
    squares.push_back({tensor.as<float>(), tensor.elements()});
  }
  const auto chunks = chunksOf(squares, [](const SquaresTensor& tensor) { return tensor.count; });
  const std::int64_t count = std::ssize(chunks);
  auto* sums = session.scratch<double>(Session::Scratch::first, count + 1);
  session.launch(
      kSquaredNorm, {count}, {kThreads, kDoubleReduceBytes},
      {.chunks = tableOf(chunks, session), .tensors = tableOf(squares, session), .sums = sums});
  return sumDoubles(sums, count, session);
}

}  // namespace wgqa::cuda
