#include "train/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>

namespace wgqa {
namespace {

// Dropout streams reserved for one micro-batch, and micro-batches reserved for one step: a position
// in training names its streams without any saved generator state.
constexpr int kStreamBits = 12;
constexpr int kMicroBatchBits = 16;

double secondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::int64_t countLabels(std::span<const TeacherForcedBatch> microBatches) {
  std::int64_t count = 0;
  for (const TeacherForcedBatch& batch : microBatches) {
    for (const std::int32_t label : batch.labels) count += label != kIgnoredLabel ? 1 : 0;
  }
  return count;
}

void requireFinite(double value, const char* what) {
  if (std::isfinite(value)) return;
  throw Error(ErrorCode::nonFinite,
              std::string("the ") + what +
                  " is not finite; nothing was updated (lower the learning rate, or clip the "
                  "gradient with maxGradNorm)",
              what);
}

}  // namespace

Trainer::Trainer(T5Model& model, const TrainerOptions& options)
    : model_(model),
      options_(options),
      training_(model, options.training),
      stateArena_(model.ops().memory()),
      bound_([this] { return norms(); },
             [this](double moment, double parameter) { return largestChange(moment, parameter); }) {
  allocateStates();
}

TensorView Trainer::addState(const std::string& name, std::vector<std::int64_t> shape) {
  std::int64_t elements = 1;
  for (const std::int64_t size : shape) elements *= size;
  const TensorView value = stateArena_.floats({elements});
  model_.ops().zero(value);
  states_.push_back({name, std::move(shape), value});
  return value;
}

// Adafactor factors matrices only: for a merge weight the factored moment equals the full one.
void Trainer::allocateStates() {
  if (options_.optimizer == OptimizerType::adamW) {
    std::int64_t elements = 0;
    for (const auto& gradient : training_.gradients()) elements += gradient.grad.elements();
    const auto tensors = static_cast<std::int64_t>(training_.gradients().size());
    stateArena_.reserveFloats(2 * elements, 2 * tensors);
  }
  for (const T5Training::Gradient& gradient : training_.gradients()) {
    const std::string& name = gradient.parameter->name();
    const std::vector<std::int64_t>& shape = gradient.parameter->shape();
    ParameterStates own;
    if (options_.optimizer == OptimizerType::adamW) {
      own.first = addState(name + ".firstMoment", shape);
      own.second = addState(name + ".secondMoment", shape);
    } else if (shape.size() == 2) {
      own.first = addState(name + ".rowMoment", {shape[0]});
      own.second = addState(name + ".columnMoment", {shape[1]});
    } else {
      own.first = addState(name + ".moment", shape);
    }
    ofParameter_.push_back(own);
  }
}

Trainer::GradientResult Trainer::computeGradients(std::span<const TeacherForcedBatch> microBatches,
                                                  float dropoutRate, const AbortFlag* abort) {
  const std::int64_t labels = countLabels(microBatches);
  if (labels == 0) {
    throw invalidArgument("labels", "at least one token id that is not -100", "none");
  }
  const float gradScale = 1.0f / static_cast<float>(labels);
  training_.begin();
  GradientResult result;
  TrainingLoss total;
  std::uint64_t place = static_cast<std::uint64_t>(stepCount_) << kMicroBatchBits;
  for (const TeacherForcedBatch& batch : microBatches) {
    const DropoutPlan dropout(dropoutRate, options_.seed, place++ << kStreamBits);
    const TrainingLoss sums = training_.accumulate(batch, gradScale, dropout, abort);
    total.crossEntropySum += sums.crossEntropySum;
    total.distillationSum += sums.distillationSum;
    result.scratchBytes = std::max(result.scratchBytes, training_.peakScratchBytes());
  }
  training_.finish();
  result.loss = total.crossEntropySum / static_cast<double>(labels);
  if (options_.training.distillation.teacher != nullptr) {
    result.distillationLoss = total.distillationSum / static_cast<double>(labels);
  }
  return result;
}

StepResult Trainer::step(std::span<const TeacherForcedBatch> microBatches, float learningRate,
                         const AbortFlag* abort) {
  const auto start = std::chrono::steady_clock::now();
  const OpTimes before = training_.times();
  StepResult result;
  const GradientResult computed = computeGradients(microBatches, options_.dropoutRate, abort);
  result.loss = computed.loss;
  result.distillationLoss = computed.distillationLoss;
  result.scratchBytes = computed.scratchBytes;
  requireFinite(result.loss, "loss");
  requireFinite(result.distillationLoss.value_or(0.0), "distillation loss");
  std::vector<ConstTensorView> grads;
  for (const auto& gradient : training_.gradients()) grads.emplace_back(gradient.grad);
  result.gradNorm = std::sqrt(model_.ops().squaredNorm(grads));
  requireFinite(result.gradNorm, "gradient norm");
  throwIfAborted(abort);

  float gradScale = 1.0f;
  if (options_.maxGradNorm > 0.0f && result.gradNorm > options_.maxGradNorm) {
    gradScale = static_cast<float>(options_.maxGradNorm / (result.gradNorm + 1e-6));
  }
  requireFiniteUpdate(learningRate, result.gradNorm * gradScale);
  ++stepCount_;
  {
    const T5Model::ParameterUpdate exclusive(model_);
    update(learningRate, gradScale);
    model_.ops().finish();  // before others read the parameters
  }
  for (const TeacherForcedBatch& batch : microBatches) {
    result.tokens += batch.encoder.tokens() + batch.decoder.tokens();
  }
  result.seconds = secondsSince(start);
  const OpTimes after = training_.times();
  result.denseSeconds = after.denseSeconds - before.denseSeconds;
  result.attentionSeconds = after.attentionSeconds - before.attentionSeconds;
  return result;
}

std::span<const T5Training::Gradient> Trainer::gradients(
    std::span<const TeacherForcedBatch> microBatches, const AbortFlag* abort) {
  computeGradients(microBatches, 0.0f, abort);
  return training_.gradients();
}

float Trainer::decayOf(const Parameter& parameter) const {
  if (!options_.decayMergeWeights && isConversionWeight(parameter)) return 0.0f;
  return options_.weightDecay;
}

UpdateBound::Norms Trainer::norms() {
  std::vector<ConstTensorView> values;
  std::vector<ConstTensorView> moments;
  for (std::size_t i = 0; i < ofParameter_.size(); ++i) {
    values.emplace_back(training_.gradients()[i].value);
    moments.emplace_back(ofParameter_[i].first);
  }
  Ops& ops = model_.ops();
  return {std::sqrt(ops.squaredNorm(values)), std::sqrt(ops.squaredNorm(moments))};
}

// AdamW divides the corrected first moment by at least epsilon. Adafactor's update has a root mean
// square of at most the threshold over a tensor.
double Trainer::largestChange(double moment, double parameter) const {
  if (options_.optimizer == OptimizerType::adamW) {
    const double correction = 1.0 - std::pow(options_.adamW.beta1, stepCount_ + 1);
    return moment / (correction * options_.adamW.epsilon);
  }
  std::int64_t largest = 1;
  for (const auto& gradient : training_.gradients()) {
    largest = std::max(largest, gradient.value.elements());
  }
  const AdafactorOptions& options = options_.adafactor;
  const double scale =
      options.scaleParameter ? std::max<double>(options.parameterEpsilon, parameter) : 1.0;
  return scale * options.clipThreshold * std::sqrt(static_cast<double>(largest));
}

void Trainer::requireFiniteUpdate(float learningRate, double gradNorm) {
  if (bound_.allows({learningRate, options_.weightDecay, gradNorm})) return;
  throw Error(ErrorCode::nonFinite,
              "the update could overflow float32; nothing was updated (lower the learning rate, or "
              "clip the gradient with maxGradNorm)",
              "update");
}

void Trainer::update(float learningRate, float gradScale) {
  if (options_.optimizer == OptimizerType::adamW) {
    updateAdamW(learningRate, gradScale);
  } else {
    updateAdafactor(learningRate, gradScale);
  }
}

void Trainer::updateAdamW(float learningRate, float gradScale) {
  std::vector<AdamW::Parameter> parameters;
  for (std::size_t i = 0; i < ofParameter_.size(); ++i) {
    const T5Training::Gradient& gradient = training_.gradients()[i];
    parameters.push_back({gradient.value, gradient.grad, ofParameter_[i].first,
                          ofParameter_[i].second, decayOf(*gradient.parameter)});
  }
  AdamW op;
  op.parameters = parameters;
  op.learningRate = learningRate;
  op.beta1 = options_.adamW.beta1;
  op.beta2 = options_.adamW.beta2;
  op.epsilon = options_.adamW.epsilon;
  op.gradScale = gradScale;
  op.step = stepCount_;
  model_.ops().adamW(op);
}

void Trainer::updateAdafactor(float learningRate, float gradScale) {
  std::vector<Adafactor::Parameter> parameters;
  for (std::size_t i = 0; i < ofParameter_.size(); ++i) {
    const T5Training::Gradient& gradient = training_.gradients()[i];
    Adafactor::Parameter parameter{
        gradient.value, gradient.grad, {}, {}, {}, decayOf(*gradient.parameter)};
    if (gradient.value.rank == 2) {
      parameter.rowMoment = ofParameter_[i].first;
      parameter.columnMoment = ofParameter_[i].second;
    } else {
      const std::int64_t elements = gradient.value.elements();
      parameter.value = {gradient.value.data, DType::float32, {1, elements}};
      parameter.grad = {gradient.grad.data, DType::float32, {1, elements}};
      parameter.moment = {ofParameter_[i].first.data, DType::float32, {1, elements}};
    }
    parameters.push_back(parameter);
  }
  Adafactor op;
  op.parameters = parameters;
  op.learningRate = learningRate;
  op.scaleByParameter = options_.adafactor.scaleParameter;
  op.decayRate = options_.adafactor.decayRate;
  op.gradEpsilon = options_.adafactor.gradEpsilon;
  op.parameterEpsilon = options_.adafactor.parameterEpsilon;
  op.clipThreshold = options_.adafactor.clipThreshold;
  op.gradScale = gradScale;
  op.step = stepCount_;
  model_.ops().adafactor(op);
}

}  // namespace wgqa
