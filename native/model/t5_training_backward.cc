#include "model/t5_training.h"

namespace wgqa {
namespace {

TensorView asMatrix(const TensorView& heads) {
  return {heads.data, heads.dtype, {heads.shape[0], heads.shape[1] * heads.shape[2]}};
}

}  // namespace

void T5Training::normBackward(const Weight& norm, const NormTape& tape,
                              const ConstTensorView& gradOut, const TensorView& gradX) {
  const ArenaScope scope(arena_);
  RmsNormBackward op;
  op.x = tape.x;
  op.weight = norm.value;
  op.inverseRms = tape.inverseRms;
  op.gradOut = gradOut;
  op.gradX = gradX;
  op.gradWeight = norm.grad.given() ? norm.grad : zeros({config_.dModel});
  ops_.rmsNormBackward(op);
}

// gradX = gradOut @ W + beta * gradX, unless not given; gradW += gradOut^T @ x, unless frozen.
void T5Training::projectBackward(const Weight& weight, const ConstTensorView& x,
                                 const ConstTensorView& gradOut, const TensorView& gradX,
                                 float beta) {
  if (gradX.given()) ops_.matmul({gradOut, weight.operand, gradX, 1.0f, beta});
  if (weight.grad.given()) ops_.matmul({gradOut.transposed(), x, weight.grad, 1.0f, gradBeta_});
}

ConstTensorView T5Training::undropped(const ConstTensorView& grad, const DropoutSpec& dropout,
                                      DType dtype) {
  if (dropout.rate == 0.0f && dtype == grad.dtype) return grad;
  const TensorView out = arena_.make(dtype, {grad.shape[0], grad.shape[1]});
  ops_.dropout({grad, {}, dropout, out});
  return out;
}

// gradHidden holds the gradient of the sublayer's output and becomes that of its input.
void T5Training::attentionBackward(const AttentionWeights& weights, const AttentionTape& tape,
                                   const TensorView& gradHidden,
                                   const TensorView& gradEncoderStates,
                                   const TensorView& gradBias) {
  const ArenaScope scope(arena_);
  const std::int64_t queries = gradHidden.shape[0];
  const std::int64_t keys = tape.keyInput.shape[0];
  const DType dtype = options_.computeDtype;
  const ConstTensorView gradProjected = undropped(gradHidden, tape.output, dtype);
  const TensorView gradOut = arena_.floats({queries, config_.innerDim()});
  projectBackward(weights.o, tape.out, gradProjected, gradOut, 0.0f);

  AttentionPrefillBackward attention;
  attention.shape = tape.shape;
  attention.q = tape.q;
  attention.k = tape.k;
  attention.v = tape.v;
  attention.out = columnsAsHeads(tape.out, config_.heads);
  attention.logSumExp = tape.logSumExp;
  attention.gradOut = columnsAsHeads(gradOut, config_.heads);
  attention.gradQ = arena_.make(dtype, {queries, config_.heads, config_.dKv});
  attention.gradK = arena_.make(dtype, {keys, weights.kvHeads, config_.dKv});
  attention.gradV = arena_.make(dtype, {keys, weights.kvHeads, config_.dKv});
  if (tape.shape.bias.given()) {
    attention.gradBiasTable =
        gradBias.given() ? gradBias : zeros({config_.relativeBuckets, config_.heads});
  }
  ops_.attentionPrefillBackward(attention);

  const bool cross = tape.keyInput.data != tape.norm.out.data;
  const TensorView gradNormed = arena_.floats({queries, config_.dModel});
  const TensorView gradKeyInput = cross ? gradEncoderStates : gradNormed;
  projectBackward(weights.q, tape.norm.out, asMatrix(attention.gradQ), gradNormed, 0.0f);
  projectBackward(weights.k, tape.keyInput, asMatrix(attention.gradK), gradKeyInput, 1.0f);
  projectBackward(weights.v, tape.keyInput, asMatrix(attention.gradV), gradKeyInput, 1.0f);
  normBackward(weights.norm, tape.norm, gradNormed, gradHidden);
}

void T5Training::feedForwardBackward(const FeedForwardWeights& weights, const FeedForwardTape& tape,
                                     const TensorView& gradHidden) {
  const ArenaScope scope(arena_);
  const std::int64_t rows = gradHidden.shape[0];
  const DType dtype = options_.computeDtype;
  const ConstTensorView gradProjected = undropped(gradHidden, tape.output, dtype);
  const TensorView gradActivated = arena_.floats({rows, config_.dFf});
  projectBackward(weights.out, tape.activated, gradProjected, gradActivated, 0.0f);

  GatedActivationBackward activation;
  activation.activation = config_.activation;
  activation.gate = tape.gate;
  activation.linear = tape.linear;
  activation.dropout = tape.inner;
  activation.gradOut = gradActivated;
  activation.gradGate =
      dtype == gradActivated.dtype ? gradActivated : arena_.make(dtype, {rows, config_.dFf});
  if (tape.linear.given()) activation.gradLinear = arena_.make(dtype, {rows, config_.dFf});
  ops_.gatedActivationBackward(activation);

  const TensorView gradNormed = arena_.floats({rows, config_.dModel});
  projectBackward(weights.gate, tape.norm.out, activation.gradGate, gradNormed, 0.0f);
  if (tape.linear.given()) {
    projectBackward(weights.linear, tape.norm.out, activation.gradLinear, gradNormed, 1.0f);
  }
  normBackward(weights.norm, tape.norm, gradNormed, gradHidden);
}

void T5Training::blockBackward(const BlockWeights& block, const BlockTape& tape,
                               const TensorView& gradHidden, const TensorView& gradEncoderStates,
                               const TensorView& gradBias) {
  feedForwardBackward(block.feedForward, tape.feedForward, gradHidden);
  if (tape.cross.q.given()) {
    attentionBackward(block.cross, tape.cross, gradHidden, gradEncoderStates, {});
  }
  attentionBackward(block.self, tape.self, gradHidden, {}, gradBias);
}

void T5Training::stackBackward(const StackWeights& weights, std::span<const std::int32_t> ids,
                               const StackTape& tape, const TensorView& gradStates,
                               const TensorView& gradEncoderStates, const AbortFlag* abort) {
  const ArenaScope scope(arena_);
  const TensorView gradHidden = zeros({gradStates.shape[0], config_.dModel});
  normBackward(weights.finalNorm, tape.finalNorm,
               undropped(gradStates, tape.output, DType::float32), gradHidden);
  const TensorView& gradBias = weights.relativeBias.grad;
  for (std::size_t layer = weights.blocks.size(); layer-- > 0;) {
    throwIfAborted(abort);
    const BlockWeights& block = weights.blocks[layer];
    if (options_.activationCheckpointing) {
      const ArenaScope blockScope(arena_);
      BlockTape again;
      BlockStart start = tape.starts[layer];
      recordBlock(block, again, tape.inputs, start.hidden, start.dropout);
      blockBackward(block, again, gradHidden, gradEncoderStates, gradBias);
    } else {
      blockBackward(block, tape.blocks[layer], gradHidden, gradEncoderStates, gradBias);
    }
  }
  if (!embedding_.grad.given()) return;
  ops_.embeddingBackward({ids, undropped(gradHidden, tape.input, DType::float32), embedding_.grad});
}

}  // namespace wgqa
