#include "model/t5_weights.h"

#include <utility>

#include "model/t5_model.h"

namespace wgqa {
namespace {

// Makes the parts of T5Weights from the parameters of one model.
class Packer {
 public:
  Packer(const T5Model& model, Ops& ops) : model_(model), config_(model.config()), ops_(ops) {}

  T5Weights::Projection projection(const Parameter& weight) const {
    Buffer copy;
    auto packed = ops_.pack(weight.in(ops_, copy), model_.computeDtype());
    weight.releasePages();
    return packed;
  }

  T5Weights::Table embedding(const Parameter& parameter) const {
    T5Weights::Table result;
    result.values = parameter.in(ops_, result.copy);
    return result;
  }

  T5Weights::Stack stack(bool decoder, const StackParameters& parameters) const {
    T5Weights::Stack packed;
    for (const BlockParameters& block : parameters.blocks) {
      T5Weights::Block& added = packed.blocks.emplace_back();
      added.self = attention(decoder ? AttentionModule::decoderSelf : AttentionModule::encoderSelf,
                             block.self);
      if (decoder) added.cross = attention(AttentionModule::decoderCross, block.cross);
      added.feedForward = feedForward(block.feedForward);
    }
    packed.relativeBias = table(*parameters.relativeBias);
    packed.finalNorm = table(*parameters.finalNorm);
    return packed;
  }

 private:
  T5Weights::Table table(const Parameter& parameter) const {
    T5Weights::Table result;
    result.values = parameter.asFloat32(ops_, result.copy);
    return result;
  }

  T5Weights::Projection merged(AttentionModule module, const Parameter& base,
                               const Parameter& mergeWeight) const {
    const std::int64_t rows = config_.module(module).kvHeads * config_.dKv;
    const Buffer memory(ops_.memory(),
                        static_cast<std::size_t>(rows * config_.dModel) * sizeof(float));
    const TensorView view(memory.as<float>(), DType::float32, {rows, config_.dModel});
    mergeProjection(model_, ops_, module, base, mergeWeight, view);
    return ops_.pack(view, model_.computeDtype());
  }

  T5Weights::Attention attention(AttentionModule module,
                                 const AttentionParameters& parameters) const {
    T5Weights::Attention packed;
    packed.norm = table(*parameters.norm);
    packed.q = projection(*parameters.q);
    packed.o = projection(*parameters.o);
    if (config_.module(module).merged) {
      packed.k = merged(module, *parameters.k, *parameters.kMergeWeight);
      packed.v = merged(module, *parameters.v, *parameters.vMergeWeight);
    } else {
      packed.k = projection(*parameters.k);
      packed.v = projection(*parameters.v);
    }
    packed.kvHeadOf = model_.kvHeadOf(module);
    packed.kvHeads = config_.module(module).kvHeads;
    return packed;
  }

  T5Weights::FeedForward feedForward(const FeedForwardParameters& parameters) const {
    T5Weights::FeedForward packed;
    packed.norm = table(*parameters.norm);
    packed.gate = projection(*parameters.gate);
    if (parameters.linear != nullptr) packed.linear = projection(*parameters.linear);
    packed.out = projection(*parameters.out);
    return packed;
  }

  const T5Model& model_;
  const T5Config& config_;
  Ops& ops_;
};

}  // namespace

T5Weights::T5Weights(const T5Model& model, Ops& ops)
    : embedding(Packer(model, ops).embedding(*model.bound().embedding)),
      encoder(Packer(model, ops).stack(false, model.bound().encoder)),
      decoder(Packer(model, ops).stack(true, model.bound().decoder)),
      head(Packer(model, ops).projection(*model.bound().head)) {
  ops.finish();  // other instances of the backend read them
}

std::int64_t T5Weights::bytes() const {
  std::int64_t total = head->bytes;
  for (const Stack* stack : {&encoder, &decoder}) {
    for (const Block& block : stack->blocks) {
      for (const Projection* projection :
           {&block.self.q, &block.self.k, &block.self.v, &block.self.o, &block.cross.q,
            &block.cross.k, &block.cross.v, &block.cross.o, &block.feedForward.gate,
            &block.feedForward.linear, &block.feedForward.out}) {
        if (*projection != nullptr) total += (*projection)->bytes;
      }
    }
  }
  return total;
}

}  // namespace wgqa
