#include "model/t5_teacher_forced.h"

#include "model/t5_encoder_pass.h"
#include "model/t5_weights.h"

namespace wgqa {

T5TeacherForcedPass::T5TeacherForcedPass(T5Model& model, T5Layers& layers,
                                         const TeacherForcedBatch& batch,
                                         const TensorView& encoderStates, const AbortFlag* abort)
    : layers_(layers), weights_(model, layers.ops()) {
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
  const std::int64_t kvHeads = config.module(AttentionModule::encoderSelf).kvHeads;
  T5EncoderPass pass(layers_, batch.encoder,
                     {arena.floats({all.count, config.dModel}),
                      {arena.make(layers_.attentionInput(), {all.count, kvHeads, config.dKv}),
                       arena.make(layers_.attentionInput(), {all.count, kvHeads, config.dKv})}});
  pass.embed(*weights_, batch.encoderIds, all);
  for (std::int64_t layer = 0; layer < config.encoderLayers; ++layer) {
    throwIfAborted(abort);
    pass.keyValues(*weights_, layer, all);
    pass.block(*weights_, layer, all);
  }
  pass.states(*weights_, all, states);
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
  for (const T5Weights::Block& block : weights_->decoder.blocks) {
    throwIfAborted(abort);
    {
      const ArenaScope scope(layers_.arena());
      const TensorView normed = layers_.normalise(block.self.norm, hidden);
      layers_.addAttention(block.self, self, normed, layers_.keyValue(block.self, normed), hidden);
    }
    {
      const ArenaScope scope(layers_.arena());
      const TensorView normed = layers_.normalise(block.cross.norm, hidden);
      layers_.addAttention(block.cross, cross, normed, layers_.keyValue(block.cross, encoderStates),
                           hidden);
    }
    layers_.addFeedForward(block.feedForward, hidden);
  }
  return layers_.normalise(weights_->decoder.finalNorm, hidden);
}

}  // namespace wgqa
