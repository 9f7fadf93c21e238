#include "model/t5_weights.h"

#include <utility>

#include "model/t5_derived.h"
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
    const auto self = decoder ? AttentionModule::decoderSelf : AttentionModule::encoderSelf;
    for (std::size_t index = 0; index < parameters.blocks.size(); ++index) {
      const BlockParameters& block = parameters.blocks[index];
      const auto layer = static_cast<std::int64_t>(index);
      T5Weights::Block& added = packed.blocks.emplace_back();
      added.self = attention(self, layer, block.self);
      if (decoder) added.cross = attention(AttentionModule::decoderCross, layer, block.cross);
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

  T5Weights::Projection projection(const DerivedProjection& derived) const {
    if (derived.weight == nullptr) return projection(*derived.base);
    const auto [rows, columns] = derived.matrixShape;
    const Buffer memory(ops_.memory(), static_cast<std::size_t>(rows * columns) * sizeof(float));
    const TensorView view(memory.as<float>(), DType::float32, {rows, columns});
    derive(ops_, derived, view);
    return ops_.pack(view, model_.computeDtype());
  }

  T5Weights::Attention attention(AttentionModule module, std::int64_t layer,
                                 const AttentionParameters& parameters) const {
    const auto packedOf = [&](Projection name) {
      return projection(derivedProjection(model_, module, layer, parameters, name));
    };
    T5Weights::Attention packed;
    packed.norm = table(*parameters.norm);
    packed.q = packedOf(Projection::q);
    packed.k = packedOf(Projection::k);
    packed.v = packedOf(Projection::v);
    packed.o = packedOf(Projection::o);
    packed.kvHeadOf = model_.kvHeadOf(module, layer);
    packed.kvHeads = config_.module(module).kvHeadsIn(layer);
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
