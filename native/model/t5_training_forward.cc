#include <algorithm>
#include <cmath>

#include "model/t5_training.h"

namespace wgqa {
namespace {

// Rows of the vocabulary projection handled at a time: bounds the memory of the logits.
constexpr std::int64_t kHeadRows = 512;

}  // namespace

T5Training::NormTape T5Training::normalise(const Weight& norm, const ConstTensorView& x) {
  RmsNorm op;
  op.x = x;
  op.weight = norm.value;
  op.epsilon = config_.layerNormEpsilon;
  op.out = arena_.floats({x.shape[0], x.shape[1]});
  op.inverseRms = arena_.floats({x.shape[0]});
  ops_.rmsNorm(op);
  return {x, op.inverseRms, op.out};
}

TensorView T5Training::project(const Weight& weight, const ConstTensorView& x) {
  const TensorView out = arena_.floats({x.shape[0], weight.value.shape[0]});
  ops_.matmul({x, weight.value.transposed(), out});
  return out;
}

// hidden + dropout(o(attention(...))); the caller has set tape.shape and, for cross-attention,
// tape.keyInput.
TensorView T5Training::attentionForward(const AttentionWeights& weights, AttentionTape& tape,
                                        const ConstTensorView& hidden, DropoutPlan& dropout) {
  tape.norm = normalise(weights.norm, hidden);
  if (!tape.keyInput.given()) tape.keyInput = tape.norm.out;
  tape.shape.kvHeadOf = weights.kvHeadOf;
  tape.shape.dropout = dropout.next();
  tape.output = dropout.next();

  AttentionPrefill attention;
  attention.shape = tape.shape;
  attention.q = columnsAsHeads(project(weights.q, tape.norm.out), config_.heads);
  attention.k = columnsAsHeads(project(weights.k, tape.keyInput), weights.kvHeads);
  attention.v = columnsAsHeads(project(weights.v, tape.keyInput), weights.kvHeads);
  const std::int64_t tokens = hidden.shape[0];
  const TensorView out = arena_.floats({tokens, config_.innerDim()});
  attention.out = columnsAsHeads(out, config_.heads);
  attention.logSumExp = arena_.floats({tokens, config_.heads});
  ops_.attentionPrefill(attention);
  tape.q = attention.q;
  tape.k = attention.k;
  tape.v = attention.v;
  tape.out = out;
  tape.logSumExp = attention.logSumExp;

  const TensorView next = project(weights.o, out);
  ops_.dropout({next, hidden, tape.output, next});
  return next;
}

TensorView T5Training::feedForwardForward(const FeedForwardWeights& weights, FeedForwardTape& tape,
                                          const ConstTensorView& hidden, DropoutPlan& dropout) {
  tape.norm = normalise(weights.norm, hidden);
  tape.inner = dropout.next();
  tape.output = dropout.next();
  tape.gate = project(weights.gate, tape.norm.out);
  tape.linear = {};
  if (weights.linear.value.given()) tape.linear = project(weights.linear, tape.norm.out);
  GatedActivation activation;
  activation.activation = config_.activation;
  activation.gate = tape.gate;
  activation.linear = tape.linear;
  activation.dropout = tape.inner;
  activation.out = arena_.floats({hidden.shape[0], config_.dFf});
  ops_.gatedActivation(activation);
  tape.activated = activation.out;
  const TensorView next = project(weights.out, activation.out);
  ops_.dropout({next, hidden, tape.output, next});
  return next;
}

void T5Training::stackForward(const StackWeights& weights, std::span<const std::int32_t> ids,
                              const AttentionShape& self, const AttentionShape& cross,
                              const ConstTensorView& encoderStates, DropoutPlan& dropout,
                              StackTape& tape, const AbortFlag* abort) {
  tape.blocks.assign(weights.blocks.size(), {});
  tape.input = dropout.next();
  const TensorView embedded =
      arena_.floats({static_cast<std::int64_t>(ids.size()), config_.dModel});
  ops_.embedding({ids, embedding_.value, embedded});
  ops_.dropout({embedded, {}, tape.input, embedded});
  ConstTensorView hidden = embedded;
  for (std::size_t layer = 0; layer < weights.blocks.size(); ++layer) {
    throwIfAborted(abort);
    const BlockWeights& block = weights.blocks[layer];
    BlockTape& blockTape = tape.blocks[layer];
    blockTape.self.shape = self;
    hidden = attentionForward(block.self, blockTape.self, hidden, dropout);
    if (encoderStates.given()) {
      blockTape.cross.shape = cross;
      blockTape.cross.keyInput = encoderStates;
      hidden = attentionForward(block.cross, blockTape.cross, hidden, dropout);
    }
    hidden = feedForwardForward(block.feedForward, blockTape.feedForward, hidden, dropout);
  }
  tape.finalNorm = normalise(weights.finalNorm, hidden);
  tape.output = dropout.next();
  const TensorView states = arena_.floats({hidden.shape[0], config_.dModel});
  ops_.dropout({tape.finalNorm.out, {}, tape.output, states});
  tape.states = states;
}

TeacherForcedResult T5Training::headForwardBackward(const TeacherForcedBatch& batch,
                                                    float gradScale, const TensorView& gradStates,
                                                    const AbortFlag* abort) {
  const float alpha =
      config_.scaleDecoderOutputs ? 1.0f / std::sqrt(static_cast<float>(config_.dModel)) : 1.0f;
  TeacherForcedResult result;
  result.lossTokens = static_cast<std::int64_t>(batch.labels.size()) -
                      std::count(batch.labels.begin(), batch.labels.end(), kIgnoredLabel);
  const std::int64_t rows = decoderTape_.states.shape[0];
  for (std::int64_t begin = 0; begin < rows; begin += kHeadRows) {
    throwIfAborted(abort);
    const ArenaScope scope(arena_);
    const std::int64_t count = std::min(kHeadRows, rows - begin);
    const ConstTensorView states = decoderTape_.states.rows(begin, count);
    const TensorView logits = arena_.floats({count, config_.vocabSize});
    ops_.matmul({states, head_.value.transposed(), logits, alpha});
    CrossEntropy loss;
    loss.logits = logits;
    loss.labels = batch.labels.subspan(begin, count);
    loss.gradScale = gradScale;
    loss.gradLogits = logits;
    loss.lossSum = &result.lossSum;
    ops_.crossEntropy(loss);
    ops_.matmul({logits, head_.value, gradStates.rows(begin, count), alpha});
    if (head_.grad.given()) {
      ops_.matmul({ConstTensorView(logits).transposed(), states, head_.grad, alpha, 1.0f});
    }
  }
  return result;
}

}  // namespace wgqa
