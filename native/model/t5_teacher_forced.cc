#include "model/t5_teacher_forced.h"

#include "model/t5_encoder_pass.h"
#include "model/t5_weights.h"

namespace wgqa {

T5TeacherForcedPass::T5TeacherForcedPass(T5Model& model, T5Layers& layers,
                                         const TeacherForcedBatch& batch,
                                         const TensorView& encoderStates, const AbortFlag* abort,
                                         AttentionInputObserver* observer)
    : layers_(layers), weights_(model, layers.ops()), observer_(observer) {
  encode(batch, encoderStates, abort);
  states_ = decode(batch, layers_.toCompute(encoderStates), abort);
}

void T5TeacherForcedPass::logits(std::int64_t begin, const TensorView& out) const {
  layers_.vocabulary(*weights_, states_.rows(begin, out.shape[0]), out);
}

void T5TeacherForcedPass::encode(const TeacherForcedBatch& batch, const TensorView& states,
                                 const AbortFlag* abort) const {
  const T5Config& config = layers_.config();
  Arena& arena = layers_.arena();
  const ArenaScope scope(arena);
  const T5EncoderPass::Rows all{0, batch.encoder.tokens()};
  const std::int64_t kvHeads = config.module(AttentionModule::encoderSelf).kvHeadsIn(0);
  const TensorView hidden = arena.floats({all.count, config.dModel});
  T5EncoderPass pass(layers_, batch.encoder,
                     {hidden,
                      {arena.make(layers_.attentionInput(), {all.count, kvHeads, config.dKv}),
                       arena.make(layers_.attentionInput(), {all.count, kvHeads, config.dKv})}});
  pass.embed(*weights_, batch.encoderIds, all);
  for (std::int64_t layer = 0; layer < config.encoderLayers; ++layer) {
    throwIfAborted(abort);
    if (observer_ != nullptr) tellEncoderInput(layer, hidden);
    pass.keyValues(*weights_, layer, all);
    pass.block(*weights_, layer, all);
  }
  pass.states(*weights_, all, states);
}

void T5TeacherForcedPass::tellEncoderInput(std::int64_t layer, const TensorView& hidden) const {
  const ArenaScope scope(layers_.arena());
  const T5Weights::Attention& attention = weights_->encoder.blocks[layer].self;
  const TensorView normed = layers_.normalise(attention.norm, hidden);
  tell(AttentionModule::encoderSelf, layer, normed, normed);
}

TensorView T5TeacherForcedPass::decode(const TeacherForcedBatch& batch,
                                       const ConstTensorView& encoderStates,
                                       const AbortFlag* abort) const {
  const TensorView hidden = layers_.embed(*weights_, batch.decoderIds);
  AttentionShape self;
  self.queries = batch.decoder;
  self.keys = batch.decoder;
  self.causal = true;
  self.bias = layers_.bias(weights_->decoder, false);
  AttentionShape cross;
  cross.queries = batch.decoder;
  cross.keys = batch.encoder;
  for (std::int64_t layer = 0; layer < layers_.config().decoderLayers; ++layer) {
    const T5Weights::Block& block = weights_->decoder.blocks[layer];
    throwIfAborted(abort);
    {
      const ArenaScope scope(layers_.arena());
      const TensorView normed = layers_.normalise(block.self.norm, hidden);
      tell(AttentionModule::decoderSelf, layer, normed, normed);
      layers_.addAttention(block.self, self, normed, layers_.keyValue(block.self, normed), hidden);
    }
    {
      const ArenaScope scope(layers_.arena());
      const TensorView normed = layers_.normalise(block.cross.norm, hidden);
      tell(AttentionModule::decoderCross, layer, normed, encoderStates);
      layers_.addAttention(block.cross, cross, normed, layers_.keyValue(block.cross, encoderStates),
                           hidden);
    }
    layers_.addFeedForward(block.feedForward, hidden);
  }
  return layers_.normalise(weights_->decoder.finalNorm, hidden);
}

}  // namespace wgqa
