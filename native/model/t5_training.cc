#include "model/t5_training.h"

namespace wgqa {
namespace {

TensorView likeShape(Arena& arena, const std::vector<std::int64_t>& shape) {
  if (shape.size() == 1) return arena.floats({shape[0]});
  if (shape.size() == 2) return arena.floats({shape[0], shape[1]});
  return arena.floats({shape[0], shape[1], shape[2]});
}

}  // namespace

T5Training::T5Training(T5Model& model, const TrainingOptions& options)
    : model_(model),
      config_(model.config()),
      ops_(model.ops()),
      options_(options),
      arena_(ops_.memory()),
      weightArena_(ops_.memory()),
      gradientArena_(ops_.memory()) {
  const ComputeNeeds needs{options.computeDtype, config_.dKv, true};
  if (const auto reason = ops_.whyUnsupported(needs)) {
    throw Error(ErrorCode::unsupported, *reason, "computeDtype",
                supportedTypes(ops_, needs, &ComputeNeeds::dtype));
  }
  allocateGradients();
  if (gradients_.empty()) {
    throw invalidArgument("trainable", "'all' for a model without merge weights", "'merge'");
  }
  if (T5Model* teacher = options.distillation.teacher) {
    teacher_ = std::make_unique<T5Teacher>(*teacher, model);
  }
}

T5Training::~T5Training() = default;

void T5Training::allocateGradients() {
  std::int64_t elements = 0;
  for (const auto& parameter : model_.parameters().all()) {
    if (options_.trainable == Trainable::merge && !isConversionWeight(*parameter)) continue;
    gradients_.push_back({&model_.parameter(parameter->name()), {}, {}});
    elements += parameter->elements();
  }
  gradientArena_.reserveFloats(elements, static_cast<std::int64_t>(gradients_.size()));
  for (Gradient& gradient : gradients_) {
    const std::string& name = gradient.parameter->name();
    gradient.grad = likeShape(gradientArena_, gradient.parameter->shape());
    encoderNeedsGradient_ |= name.starts_with("encoder.") || name == "shared.weight";
  }
}

const TensorView* T5Training::gradientOf(const Parameter* parameter) const {
  for (const Gradient& gradient : gradients_) {
    if (gradient.parameter == parameter) return &gradient.grad;
  }
  return nullptr;
}

// A weight whose gradient is added to from the start.
T5Training::Weight T5Training::bind(Parameter* parameter) {
  if (parameter == nullptr) return {};
  const TensorView* grad = gradientOf(parameter);
  if (grad != nullptr) ops_.zero(*grad);
  return {parameter->view(), {}, grad == nullptr ? TensorView{} : *grad};
}

// A weight whose gradient the first product of a step overwrites.
T5Training::Weight T5Training::bindProduct(Parameter* parameter) {
  if (parameter == nullptr) return {};
  const TensorView* grad = gradientOf(parameter);
  return {parameter->view(), operandOf(parameter->view()), grad == nullptr ? TensorView{} : *grad};
}

ConstTensorView T5Training::operandOf(const ConstTensorView& value) {
  if (options_.computeDtype == value.dtype) return value;
  const TensorView rounded =
      weightArena_.make(options_.computeDtype, {value.shape[0], value.shape[1]});
  ops_.cast({value, rounded});
  return rounded;
}

T5Training::Weight T5Training::bindProjection(const DerivedProjection& derived) {
  if (derived.weight == nullptr) return bindProduct(derived.base);
  const auto [rows, columns] = derived.matrixShape;
  bind(derived.base);
  StepProjection projection;
  projection.derived = derived;
  bindWeight(derived, projection);
  projection.matrix = weightArena_.floats({rows, columns});
  projection.gradMatrix = weightArena_.floats({rows, columns});
  derive(ops_, derived, projection.weight, projection.matrix);
  derivedProjections_.push_back(projection);
  return {projection.matrix, operandOf(projection.matrix), projection.gradMatrix};
}

// What the projection weighs by, and where the gradient of that goes.
void T5Training::bindWeight(const DerivedProjection& derived, StepProjection& projection) {
  const Weight parameter = bind(derived.weight);
  projection.weight = parameter.value;
  projection.gradWeight = parameter.grad;
  if (derived.constraint == MergeConstraint::none) return;
  const std::int64_t count = derived.weight->elements();
  const TensorView weight = weightArena_.floats({count});
  constrainWeight(ops_, derived, weight);
  projection.weight = weight;
  projection.gradWeight = weightArena_.floats({count});
  ops_.zero(projection.gradWeight);
}

T5Training::AttentionWeights T5Training::bindAttention(AttentionModule module, std::int64_t layer,
                                                       const AttentionParameters& parameters) {
  const auto bound = [&](Projection name) {
    return bindProjection(derivedProjection(model_, module, layer, parameters, name));
  };
  AttentionWeights weights;
  weights.norm = bind(parameters.norm);
  weights.q = bound(Projection::q);
  weights.k = bound(Projection::k);
  weights.v = bound(Projection::v);
  weights.o = bound(Projection::o);
  weights.kvHeadOf = model_.kvHeadOf(module, layer);
  weights.kvHeads = config_.module(module).kvHeadsIn(layer);
  return weights;
}

T5Training::StackWeights T5Training::bindStack(bool decoder, const StackParameters& parameters) {
  StackWeights stack;
  const auto self = decoder ? AttentionModule::decoderSelf : AttentionModule::encoderSelf;
  for (std::size_t index = 0; index < parameters.blocks.size(); ++index) {
    const BlockParameters& block = parameters.blocks[index];
    const auto layer = static_cast<std::int64_t>(index);
    BlockWeights weights;
    weights.self = bindAttention(self, layer, block.self);
    if (decoder) weights.cross = bindAttention(AttentionModule::decoderCross, layer, block.cross);
    const FeedForwardParameters& feedForward = block.feedForward;
    weights.feedForward = {bind(feedForward.norm), bindProduct(feedForward.gate),
                           bindProduct(feedForward.linear), bindProduct(feedForward.out)};
    stack.blocks.push_back(weights);
  }
  stack.relativeBias = bind(parameters.relativeBias);
  stack.finalNorm = bind(parameters.finalNorm);
  return stack;
}

// Float32 memory where the backend computes for all parameters, that of the trained ones the
// model's own. Most often it is there already: then nobody who decodes with the model has to wait.
void T5Training::makeParametersWritable() {
  std::vector<Parameter*> foreign;
  for (const auto& parameter : model_.parameters().all()) {
    const bool fits = gradientOf(parameter.get()) != nullptr ? parameter->isWritable(ops_)
                                                             : parameter->isFloat32In(ops_);
    if (!fits) foreign.push_back(parameter.get());
  }
  if (foreign.empty()) return;
  const T5Model::ParameterUpdate update(model_);
  for (Parameter* parameter : foreign) update.writable(*parameter);
}

void T5Training::begin() {
  model_.releaseInference();
  makeParametersWritable();
  for (Gradient& gradient : gradients_) {
    gradient.value = gradient.parameter->makeWritable(ops_);
  }
  gradBeta_ = 0.0f;
  weightArena_.reset();
  derivedProjections_.clear();
  const T5Parameters& bound = model_.bound();
  head_ = bindProduct(bound.head);
  embedding_ = config_.tiedEmbeddings ? head_ : bind(bound.embedding);
  encoder_ = bindStack(false, bound.encoder);
  decoder_ = bindStack(true, bound.decoder);
}

void T5Training::finish() {
  for (const StepProjection& projection : derivedProjections_) backward(projection);
}

void T5Training::backward(const StepProjection& projection) {
  const DerivedProjection& derived = projection.derived;
  MergeHeadsBackward op;
  op.granularity = derived.granularity;
  op.base = derived.asBase(derived.base->view());
  op.weight = derived.asWeight(projection.weight);
  op.kvHeadOf = derived.groups;
  op.gradMerged = derived.asResult(projection.gradMatrix);
  if (const TensorView* grad = gradientOf(derived.base)) op.gradBase = derived.asBase(*grad);
  op.gradWeight = derived.asWeight(projection.gradWeight);
  ops_.mergeHeadsBackward(op);
  if (derived.constraint == MergeConstraint::none) return;
  ConstrainMergeWeightsBackward constrain;
  constrain.constraint = derived.constraint;
  constrain.raw = derived.asWeight(derived.weight->view());
  constrain.weight = op.weight;
  constrain.kvHeadOf = derived.groups;
  constrain.gradWeight = op.gradWeight;
  constrain.gradRaw = derived.asWeight(*gradientOf(derived.weight));
  ops_.constrainMergeWeightsBackward(constrain);
}

TrainingLoss T5Training::accumulate(const TeacherForcedBatch& batch, float gradScale,
                                    DropoutPlan dropout, const AbortFlag* abort) {
  arena_.reset();
  BlockInputs encoder;
  encoder.self.queries = batch.encoder;
  encoder.self.keys = batch.encoder;
  encoder.self.bias = {encoder_.relativeBias.value, true, config_.relativeMaxDistance};
  stackForward(encoder_, batch.encoderIds, encoder, dropout, encoderTape_, abort);
  BlockInputs decoder;
  decoder.self.queries = batch.decoder;
  decoder.self.keys = batch.decoder;
  decoder.self.causal = true;
  decoder.self.bias = {decoder_.relativeBias.value, false, config_.relativeMaxDistance};
  decoder.cross.queries = batch.decoder;
  decoder.cross.keys = batch.encoder;
  decoder.encoderStates = encoderTape_.states;
  stackForward(decoder_, batch.decoderIds, decoder, dropout, decoderTape_, abort);
  const TensorView gradDecoder = arena_.floats({batch.decoder.tokens(), config_.dModel});
  const TrainingLoss result = headForwardBackward(batch, gradScale, gradDecoder, abort);
  const TensorView gradEncoder =
      encoderNeedsGradient_ ? zeros({batch.encoder.tokens(), config_.dModel}) : TensorView{};
  stackBackward(decoder_, batch.decoderIds, decoderTape_, gradDecoder, gradEncoder, abort);
  if (encoderNeedsGradient_) {
    stackBackward(encoder_, batch.encoderIds, encoderTape_, gradEncoder, {}, abort);
  }
  gradBeta_ = 1.0f;
  return result;
}

TensorView T5Training::zeros(std::initializer_list<std::int64_t> shape) {
  const TensorView view = arena_.floats(shape);
  ops_.zero(view);
  return view;
}

std::int64_t T5Training::bytes() const {
  const std::int64_t teacherBytes = teacher_ ? teacher_->scratchBytes() : 0;
  return static_cast<std::int64_t>(arena_.bytes() + weightArena_.bytes() + gradientArena_.bytes()) +
         teacherBytes;
}

std::int64_t T5Training::peakScratchBytes() const {
  const std::int64_t teacherBytes = teacher_ ? teacher_->peakScratchBytes() : 0;
  return static_cast<std::int64_t>(arena_.peakBytes()) + teacherBytes;
}

OpTimes T5Training::times() const {
  OpTimes times = ops_.times();
  if (!teacher_) return times;
  const OpTimes teacher = teacher_->times();
  times.denseSeconds += teacher.denseSeconds;
  times.attentionSeconds += teacher.attentionSeconds;
  times.weightBytes += teacher.weightBytes;
  return times;
}

}  // namespace wgqa
