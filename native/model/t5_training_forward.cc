#include <algorithm>
#include <cmath>
#include <optional>

#include "model/t5_training.h"

namespace wgqa {

T5Training::NormTape T5Training::normalise(const Weight& norm, const ConstTensorView& x,
                                           DType dtype) {
  RmsNorm op;
  op.x = x;
  op.weight = norm.value;
  op.epsilon = config_.layerNormEpsilon;
  op.out = arena_.make(dtype, {x.shape[0], x.shape[1]});
  op.inverseRms = arena_.floats({x.shape[0]});
  ops_.rmsNorm(op);
  return {x, op.inverseRms, op.out};
}

TensorView T5Training::project(const Weight& weight, const ConstTensorView& x, DType dtype) {
  const TensorView out = arena_.make(dtype, {x.shape[0], weight.value.shape[0]});
  ops_.matmul({x, weight.operand.transposed(), out});
  return out;
}

// out = hidden + dropout(x W^T).
void T5Training::addProjection(const Weight& weight, const ConstTensorView& x,
                               const ConstTensorView& hidden, const DropoutSpec& dropout,
                               const TensorView& out) {
  ops_.matmul({x, weight.operand.transposed(), out});
  ops_.dropout({out, hidden, dropout, out});
}

// hidden + dropout(o(attention(...))); the caller has set tape.shape and, for cross-attention,
// tape.keyInput.
TensorView T5Training::attentionForward(const AttentionWeights& weights, AttentionTape& tape,
                                        const ConstTensorView& hidden, DropoutPlan& dropout) {
  tape.norm = normalise(weights.norm, hidden, options_.computeDtype);
  if (!tape.keyInput.given()) tape.keyInput = tape.norm.out;
  tape.shape.kvHeadOf = weights.kvHeadOf;
  tape.shape.dropout = dropout.next();
  tape.output = dropout.next();

  const DType input = ops_.attentionInput(options_.computeDtype);
  AttentionPrefill attention;
  attention.shape = tape.shape;
  attention.q = columnsAsHeads(project(weights.q, tape.norm.out, input), config_.heads);
  attention.k = columnsAsHeads(project(weights.k, tape.keyInput, input), weights.kvHeads);
  attention.v = columnsAsHeads(project(weights.v, tape.keyInput, input), weights.kvHeads);
  const std::int64_t tokens = hidden.shape[0];
  const TensorView out = arena_.make(options_.computeDtype, {tokens, config_.innerDim()});
  attention.out = columnsAsHeads(out, config_.heads);
  attention.logSumExp = arena_.floats({tokens, config_.heads});
  ops_.attentionPrefill(attention);
  tape.q = attention.q;
  tape.k = attention.k;
  tape.v = attention.v;
  tape.out = out;
  tape.logSumExp = attention.logSumExp;

  const TensorView next = arena_.floats({tokens, config_.dModel});
  addProjection(weights.o, out, hidden, tape.output, next);
  return next;
}

// The feed-forward part of a block up to its last product.
void T5Training::activate(const FeedForwardWeights& weights, FeedForwardTape& tape,
                          const ConstTensorView& hidden, DropoutPlan& dropout) {
  tape.norm = normalise(weights.norm, hidden, options_.computeDtype);
  tape.inner = dropout.next();
  tape.output = dropout.next();
  tape.gate = project(weights.gate, tape.norm.out, DType::float32);
  tape.linear = {};
  if (weights.linear.value.given()) {
    tape.linear = project(weights.linear, tape.norm.out, DType::float32);
  }
  GatedActivation activation;
  activation.activation = config_.activation;
  activation.gate = tape.gate;
  activation.linear = tape.linear;
  activation.dropout = tape.inner;
  activation.out = arena_.make(options_.computeDtype, {hidden.shape[0], config_.dFf});
  ops_.gatedActivation(activation);
  tape.activated = activation.out;
}

// A block up to its last product: all that its backward pass needs. Gives what the product's
// result is added to.
ConstTensorView T5Training::recordBlock(const BlockWeights& block, BlockTape& tape,
                                        const BlockInputs& inputs, const ConstTensorView& hidden,
                                        DropoutPlan& dropout) {
  tape.self.shape = inputs.self;
  ConstTensorView next = attentionForward(block.self, tape.self, hidden, dropout);
  if (inputs.encoderStates.given()) {
    tape.cross.shape = inputs.cross;
    tape.cross.keyInput = inputs.encoderStates;
    next = attentionForward(block.cross, tape.cross, next, dropout);
  }
  activate(block.feedForward, tape.feedForward, next, dropout);
  return next;
}

TensorView T5Training::blockForward(const BlockWeights& block, StackTape& tape,
                                    const ConstTensorView& hidden, DropoutPlan& dropout) {
  tape.starts.push_back({hidden, dropout});
  const TensorView out = arena_.floats({hidden.shape[0], config_.dModel});
  const Arena::Mark blockBegin = arena_.mark();
  BlockTape recorded;
  const ConstTensorView next = recordBlock(block, recorded, tape.inputs, hidden, dropout);
  addProjection(block.feedForward.out, recorded.feedForward.activated, next,
                recorded.feedForward.output, out);
  if (options_.activationCheckpointing) {
    arena_.rewind(blockBegin);
  } else {
    tape.blocks.push_back(std::move(recorded));
  }
  return out;
}

void T5Training::stackForward(const StackWeights& weights, std::span<const std::int32_t> ids,
                              const BlockInputs& inputs, DropoutPlan& dropout, StackTape& tape,
                              const AbortFlag* abort) {
  tape.inputs = inputs;
  tape.starts.clear();
  tape.blocks.clear();
  tape.input = dropout.next();
  const TensorView embedded =
      arena_.floats({static_cast<std::int64_t>(ids.size()), config_.dModel});
  ops_.embedding({ids, embedding_.value, embedded});
  ops_.dropout({embedded, {}, tape.input, embedded});
  ConstTensorView hidden = embedded;
  for (const BlockWeights& block : weights.blocks) {
    throwIfAborted(abort);
    hidden = blockForward(block, tape, hidden, dropout);
  }
  tape.finalNorm = normalise(weights.finalNorm, hidden, DType::float32);
  tape.output = dropout.next();
  const TensorView states = arena_.make(options_.computeDtype, {hidden.shape[0], config_.dModel});
  ops_.dropout({tape.finalNorm.out, {}, tape.output, states});
  tape.states = states;
}

// Adds up the losses of rows of logits. Gives the gradient of both, weighted, in the logits' place
// where its type allows.
ConstTensorView T5Training::lossBackward(const TensorView& logits,
                                         const ConstTensorView& teacherLogits,
                                         std::span<const std::int32_t> labels, float gradScale,
                                         TrainingLoss& sums) {
  const TensorView gradLogits =
      options_.computeDtype == logits.dtype
          ? logits
          : arena_.make(options_.computeDtype, {logits.shape[0], logits.shape[1]});
  if (!teacherLogits.given()) {
    ops_.crossEntropy({logits, labels, gradScale, gradLogits, &sums.crossEntropySum});
    return gradLogits;
  }
  DistilledCrossEntropy loss;
  loss.logits = logits;
  loss.teacherLogits = teacherLogits;
  loss.labels = labels;
  loss.teacherWeight = options_.distillation.weight;
  loss.temperature = options_.distillation.temperature;
  loss.gradScale = gradScale;
  loss.gradLogits = gradLogits;
  loss.lossSum = &sums.crossEntropySum;
  loss.distillationSum = &sums.distillationSum;
  ops_.distilledCrossEntropy(loss);
  return gradLogits;
}

TrainingLoss T5Training::headForwardBackward(const TeacherForcedBatch& batch, float gradScale,
                                             const TensorView& gradStates, const AbortFlag* abort) {
  const float alpha =
      config_.scaleDecoderOutputs ? 1.0f / std::sqrt(static_cast<float>(config_.dModel)) : 1.0f;
  std::optional<T5Teacher::Pass> teacher;
  if (teacher_) teacher.emplace(*teacher_, batch, abort);
  TrainingLoss sums;
  const std::int64_t rows = decoderTape_.states.shape[0];
  // So many rows of logits at a time: more would be no faster, and logits are large.
  const std::int64_t rowsAtOnce = ops_.saturatingRows();
  for (std::int64_t begin = 0; begin < rows; begin += rowsAtOnce) {
    throwIfAborted(abort);
    const ArenaScope scope(arena_);
    const std::int64_t count = std::min(rowsAtOnce, rows - begin);
    const ConstTensorView states = decoderTape_.states.rows(begin, count);
    const TensorView logits = arena_.floats({count, config_.vocabSize});
    ops_.matmul({states, head_.operand.transposed(), logits, alpha});
    const ConstTensorView teacherLogits =
        teacher ? teacher->logits(begin, count) : ConstTensorView{};
    const ConstTensorView gradLogits =
        lossBackward(logits, teacherLogits, batch.labels.subspan(begin, count), gradScale, sums);
    ops_.matmul({gradLogits, head_.operand, gradStates.rows(begin, count), alpha});
    if (head_.grad.given()) {
      const float beta = begin == 0 ? gradBeta_ : 1.0f;
      ops_.matmul({gradLogits.transposed(), states, head_.grad, alpha, beta});
    }
  }
  return sums;
}

}  // namespace wgqa
