#include <algorithm>
#include <cmath>

#include "ops/reference/reference_ops.h"
#include "ops/reference/wide.h"

namespace wgqa::reference {
namespace {

double rootMeanSquare(const Wide& values) {
  double squares = 0.0;
  for (const double value : values) squares += value * value;
  return std::sqrt(squares / static_cast<double>(values.size()));
}

Wide scaled(Wide values, double factor) {
  for (double& value : values) value *= factor;
  return values;
}

// moment = decay * moment + (1 - decay) * target.
Wide decayed(const TensorView& moment, const Wide& target, double decay) {
  Wide result = load(moment);
  for (std::size_t i = 0; i < result.size(); ++i) {
    result[i] = decay * result[i] + (1.0 - decay) * target[i];
  }
  store(result, moment);
  return result;
}

// The second-moment estimate of each element: of the whole matrix, or rowMoment * columnMoment /
// mean(rowMoment) where it is factored.
Wide secondMoment(const Adafactor::Parameter& parameter, const Wide& squares, double decay) {
  if (parameter.moment.given()) return decayed(parameter.moment, squares, decay);
  const std::int64_t rows = parameter.value.shape[0];
  const std::int64_t columns = parameter.value.shape[1];
  Wide rowMeans(rows);
  Wide columnMeans(columns);
  for (std::int64_t i = 0; i < rows * columns; ++i) {
    rowMeans[i / columns] += squares[i] / static_cast<double>(columns);
    columnMeans[i % columns] += squares[i] / static_cast<double>(rows);
  }
  const Wide rowMoment = decayed(parameter.rowMoment, rowMeans, decay);
  const Wide columnMoment = decayed(parameter.columnMoment, columnMeans, decay);
  double mean = 0.0;
  for (const double value : rowMoment) mean += value / static_cast<double>(rows);
  Wide result(rows * columns);
  for (std::int64_t i = 0; i < rows * columns; ++i) {
    result[i] = rowMoment[i / columns] / mean * columnMoment[i % columns];
  }
  return result;
}

void stepAdamW(const AdamW& p, const AdamW::Parameter& parameter) {
  const Wide grad = scaled(load(parameter.grad), p.gradScale);
  Wide squares = grad;
  for (double& value : squares) value *= value;
  const Wide first = decayed(parameter.firstMoment, grad, p.beta1);
  const Wide second = decayed(parameter.secondMoment, squares, p.beta2);
  const auto step = static_cast<double>(p.step);
  const double firstCorrection = 1.0 - std::pow(static_cast<double>(p.beta1), step);
  const double secondCorrection = 1.0 - std::pow(static_cast<double>(p.beta2), step);
  Wide value = load(parameter.value);
  for (std::size_t i = 0; i < value.size(); ++i) {
    value[i] *= 1.0 - static_cast<double>(p.learningRate) * parameter.weightDecay;
    value[i] -= p.learningRate * (first[i] / firstCorrection) /
                (std::sqrt(second[i] / secondCorrection) + p.epsilon);
  }
  store(value, parameter.value);
}

void stepAdafactor(const Adafactor& p, const Adafactor::Parameter& parameter) {
  Wide value = load(parameter.value);
  Wide update = scaled(load(parameter.grad), p.gradScale);
  Wide squares = update;
  for (double& square : squares) square = square * square + p.gradEpsilon;
  const double decay = 1.0 - std::pow(static_cast<double>(p.step), p.decayRate);
  const Wide moment = secondMoment(parameter, squares, decay);
  for (std::size_t i = 0; i < update.size(); ++i) update[i] /= std::sqrt(moment[i]);
  const double clip = std::max(1.0, rootMeanSquare(update) / p.clipThreshold);
  double learningRate = p.learningRate;
  if (p.scaleByParameter) {
    learningRate *= std::max<double>(p.parameterEpsilon, rootMeanSquare(value));
  }
  for (std::size_t i = 0; i < value.size(); ++i) {
    value[i] *= 1.0 - learningRate * parameter.weightDecay;
    value[i] -= learningRate * update[i] / clip;
  }
  store(value, parameter.value);
}

}  // namespace

void ReferenceOps::adamW(const AdamW& p) {
  for (const AdamW::Parameter& parameter : p.parameters) stepAdamW(p, parameter);
}

void ReferenceOps::adafactor(const Adafactor& p) {
  for (const Adafactor::Parameter& parameter : p.parameters) stepAdafactor(p, parameter);
}

double ReferenceOps::squaredNorm(std::span<const ConstTensorView> tensors) {
  double sum = 0.0;
  for (const ConstTensorView& tensor : tensors) {
    for (const double value : load(tensor)) sum += value * value;
  }
  return sum;
}

}  // namespace wgqa::reference
