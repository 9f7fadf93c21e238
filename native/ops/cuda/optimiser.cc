#include "ops/cuda/kernels/optimiser.h"

#include <cmath>

#include "ops/cuda/alignment.h"
#include "ops/cuda/grids.h"
#include "ops/cuda/operations.h"

namespace wgqa::cuda {
namespace {

using Scratch = Session::Scratch;

constexpr int kThreads = 256;

// About as many parts as all tensors together are cut into at most: many times what runs at once,
// and a small table. It does not depend on the device, and so neither does the order of a sum.
constexpr std::int64_t kMostParts = 16384;

// The smallest multiple of `unit` that cuts `elements` into at most kMostParts parts.
std::int64_t partElementsFor(std::int64_t elements, std::int64_t unit) {
  return unit * std::max<std::int64_t>(1, divideUp(elements, unit * kMostParts));
}

template <typename T>
const T* tableOf(const std::vector<T>& values, Session& session) {
  return session.table(std::span<const T>(values));
}

void addParts(std::int64_t tensor, std::int64_t count, std::vector<TensorPart>& parts) {
  for (std::int64_t part = 0; part < count; ++part) {
    parts.push_back({static_cast<std::int32_t>(tensor), static_cast<std::int32_t>(part)});
  }
}

// Tensors, seen as rows of numbers, in parts of `elements` elements.
struct Parts {
  std::int64_t elements = 0;
  std::vector<TensorPart> all;
};

template <typename Tensor>
Parts partsOf(const std::vector<Tensor>& tensors) {
  constexpr std::int64_t kUnit = 8192;
  std::int64_t total = 0;
  for (const Tensor& tensor : tensors) total += tensor.count;
  Parts parts{partElementsFor(total, kUnit), {}};
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    addParts(static_cast<std::int64_t>(i), divideUp(tensors[i].count, parts.elements), parts.all);
  }
  return parts;
}

// ---------------------------------------------------------------------------- Adafactor

// Everything of a step but its numbers: the tables, and how much scratch memory it takes.
struct AdafactorPlan {
  std::int64_t tileRows = 0;
  std::vector<AdafactorTensor> tensors;
  std::vector<TensorPart> tiles;
  std::vector<TensorPart> vectors;
  std::int64_t squares = 0;

  void add(const Adafactor::Parameter& parameter);
};

AdafactorTensor tensorOf(const Adafactor::Parameter& parameter) {
  AdafactorTensor tensor{};
  tensor.value = parameter.value.as<float>();
  tensor.grad = parameter.grad.as<float>();
  tensor.rowMoment = parameter.rowMoment.as<float>();
  tensor.columnMoment = parameter.columnMoment.as<float>();
  tensor.moment = parameter.moment.as<float>();
  tensor.count = parameter.value.elements();
  const bool isFactored = tensor.moment == nullptr;
  tensor.columns = isFactored ? parameter.value.shape[1] : kAdafactorColumns;
  tensor.rows = divideUp(tensor.count, tensor.columns);
  tensor.weightDecay = parameter.weightDecay;
  const std::int64_t lastRow = tensor.count - (tensor.rows - 1) * tensor.columns;
  tensor.isAligned = lastRow % 4 == 0 &&
                     areAligned({tensor.value, tensor.grad, tensor.columnMoment, tensor.moment});
  return tensor;
}

void AdafactorPlan::add(const Adafactor::Parameter& parameter) {
  const auto index = std::ssize(tensors);
  AdafactorTensor tensor = tensorOf(parameter);
  const std::int64_t rowTiles = divideUp(tensor.rows, tileRows);
  const std::int64_t columnTiles = divideUp(tensor.columns, kAdafactorColumns);
  tensor.firstTile = static_cast<std::int32_t>(tiles.size());
  tensor.tileCount = static_cast<std::int32_t>(rowTiles * columnTiles);
  addParts(index, tensor.tileCount, tiles);
  if (tensor.moment == nullptr) {
    const std::int64_t rowVectors = divideUp(tensor.rows, kAdafactorColumns);
    addParts(index, rowVectors + columnTiles, vectors);
    tensor.rowSquares = squares;
    tensor.columnSquares = squares + columnTiles * rowVectors * kAdafactorColumns;
    squares = tensor.columnSquares + rowTiles * columnTiles * kAdafactorColumns;
  }
  tensors.push_back(tensor);
}

AdafactorPlan planOf(const Adafactor& p) {
  constexpr std::int64_t kFewestRows = 64;  // of a tile
  std::int64_t total = 0;
  for (const Adafactor::Parameter& parameter : p.parameters) total += parameter.value.elements();
  AdafactorPlan plan;
  plan.tileRows = partElementsFor(total, kFewestRows * kAdafactorColumns) / kAdafactorColumns;
  for (const Adafactor::Parameter& parameter : p.parameters) {
    if (parameter.value.elements() > 0) plan.add(parameter);
  }
  return plan;
}

AdafactorArguments argumentsOf(const Adafactor& p, const AdafactorPlan& plan, Session& session) {
  const double newShare = std::pow(static_cast<double>(p.step), double{p.decayRate});
  return {.tiles = tableOf(plan.tiles, session),
          .vectors = tableOf(plan.vectors, session),
          .tensors = tableOf(plan.tensors, session),
          .squares = session.scratch<float>(Scratch::first, plan.squares),
          .tileSums = session.scratch<AdafactorSquares>(Scratch::second, std::ssize(plan.tiles)),
          .outcomes = session.scratch<AdafactorOutcome>(Scratch::third, std::ssize(plan.tensors)),
          .tileRows = plan.tileRows,
          .decay = static_cast<float>(1.0 - newShare),
          .newShare = static_cast<float>(newShare),
          .gradEpsilon = p.gradEpsilon,
          .gradScale = p.gradScale,
          .parameterEpsilon = p.parameterEpsilon,
          .clipThreshold = p.clipThreshold,
          .learningRate = p.learningRate,
          .scalesByParameter = p.scaleByParameter ? 1 : 0};
}

}  // namespace

void adamW(const AdamW& p, Session& session) {
  std::vector<AdamWTensor> tensors;
  for (const AdamW::Parameter& parameter : p.parameters) {
    tensors.push_back(
        {.value = parameter.value.as<float>(),
         .grad = parameter.grad.as<float>(),
         .firstMoment = parameter.firstMoment.as<float>(),
         .secondMoment = parameter.secondMoment.as<float>(),
         .count = parameter.value.elements(),
         .weightDecay = parameter.weightDecay,
         .isAligned = areAligned({parameter.value.data, parameter.grad.data,
                                  parameter.firstMoment.data, parameter.secondMoment.data})});
  }
  const Parts parts = partsOf(tensors);
  const auto step = static_cast<double>(p.step);
  session.launch(
      kAdamW, {std::ssize(parts.all)}, {kThreads},
      {.parts = tableOf(parts.all, session),
       .tensors = tableOf(tensors, session),
       .partElements = parts.elements,
       .beta1 = p.beta1,
       .beta2 = p.beta2,
       .newShare1 = static_cast<float>(1.0 - double{p.beta1}),
       .newShare2 = static_cast<float>(1.0 - double{p.beta2}),
       .epsilon = p.epsilon,
       .gradScale = p.gradScale,
       .learningRate = p.learningRate,
       .stepSize = static_cast<float>(p.learningRate / (1.0 - std::pow(double{p.beta1}, step))),
       .inverseRootCorrection =
           static_cast<float>(1.0 / std::sqrt(1.0 - std::pow(double{p.beta2}, step))),
       .unused = 0.0f});
}

void adafactor(const Adafactor& p, Session& session) {
  constexpr std::int64_t kWarpSumBytes = kAdafactorWarps * kAdafactorColumns * sizeof(float);
  const AdafactorPlan plan = planOf(p);
  const AdafactorArguments arguments = argumentsOf(p, plan, session);
  const Grid tiles{std::ssize(plan.tiles)};
  const Grid vectors{std::ssize(plan.vectors)};
  const Grid tensors{std::ssize(plan.tensors)};
  session.launch(kAdafactorSquares, tiles, {kThreads, kWarpSumBytes}, arguments);
  session.launch(kAdafactorMoments, vectors, {kThreads, kWarpSumBytes}, arguments);
  session.launch(kAdafactorRowMeans, tensors, {kThreads, kReduceBytes}, arguments);
  session.launch(kAdafactorUpdateSquares, tiles, {kThreads, kDoubleReduceBytes}, arguments);
  session.launch(kAdafactorRates, tensors, {kThreads, kDoubleReduceBytes}, arguments);
  session.launch(kAdafactorUpdate, tiles, {kThreads}, arguments);
}

double squaredNorm(std::span<const ConstTensorView> tensors, Session& session) {
  std::vector<SquaresTensor> squares;
  for (const ConstTensorView& tensor : tensors) {
    squares.push_back({tensor.as<float>(), tensor.elements(), areAligned({tensor.data})});
  }
  const Parts parts = partsOf(squares);
  const std::int64_t count = std::ssize(parts.all);
  auto* sums = session.scratch<double>(Scratch::first, count + 1);
  session.launch(kSquaredNorm, {count}, {kThreads, kDoubleReduceBytes},
                 {.parts = tableOf(parts.all, session),
                  .tensors = tableOf(squares, session),
                  .partElements = parts.elements,
                  .sums = sums});
  return sumDoubles(sums, count, session);
}

}  // namespace wgqa::cuda
