#include "model/t5_layers.h"

#include <array>
#include <cmath>
#include <span>

namespace wgqa {
namespace {

// [rows, heads, headDim] seen as [rows, heads * headDim].
TensorView headsAsColumns(const TensorView& heads) {
  return {heads.data, heads.dtype, {heads.shape[0], heads.shape[1] * heads.shape[2]}};
}

}  // namespace

void T5Layers::embed(const T5Weights& weights, std::span<const std::int32_t> ids,
                     const TensorView& hidden) {
  ops_->embedding({ids, weights.embedding.values, hidden});
}

TensorView T5Layers::embed(const T5Weights& weights, std::span<const std::int32_t> ids) {
  const TensorView hidden = arena_.floats({static_cast<std::int64_t>(ids.size()), config_.dModel});
  embed(weights, ids, hidden);
  return hidden;
}

void T5Layers::normalise(const T5Weights::Table& norm, const ConstTensorView& hidden,
                         const TensorView& out) {
  RmsNorm op;
  op.x = hidden;
  op.weight = norm.values;
  op.epsilon = config_.layerNormEpsilon;
  op.out = out;
  ops_->rmsNorm(op);
}

TensorView T5Layers::normalise(const T5Weights::Table& norm, const ConstTensorView& hidden) {
  const TensorView out = arena_.make(dtype_, {hidden.shape[0], hidden.shape[1]});
  normalise(norm, hidden, out);
  return out;
}

ConstTensorView T5Layers::toCompute(const ConstTensorView& x) {
  if (dtype_ == x.dtype) return x;
  const TensorView out = arena_.make(dtype_, {x.shape[0], x.shape[1]});
  ops_->cast({x, out});
  return out;
}

/// Room for a projection's outputs.
TensorView T5Layers::newRows(const T5Weights::Projection& weight, std::int64_t rows, DType dtype) {
  return arena_.make(dtype, {rows, weight->outFeatures});
}

void T5Layers::addProjection(const T5Weights::Projection& weight, const ConstTensorView& x,
                             const TensorView& hidden) {
  Linear linear{x, weight.get(), hidden};
  linear.beta = 1.0f;
  ops_->linear(linear);
}

void T5Layers::keyValue(const T5Weights::Attention& attention, const ConstTensorView& x,
                        const KeyValue& out) {
  const std::array<Linear, 2> products{{{x, attention.k.get(), headsAsColumns(out.k)},
                                        {x, attention.v.get(), headsAsColumns(out.v)}}};
  ops_->linear(products);
}

KeyValue T5Layers::newKeyValue(const T5Weights::Attention& attention, std::int64_t rows) {
  return {arena_.make(attentionInput_, {rows, attention.kvHeads, config_.dKv}),
          arena_.make(attentionInput_, {rows, attention.kvHeads, config_.dKv})};
}

KeyValue T5Layers::keyValue(const T5Weights::Attention& attention, const ConstTensorView& x) {
  const KeyValue out = newKeyValue(attention, x.shape[0]);
  keyValue(attention, x, out);
  return out;
}

void T5Layers::append(const KeyValue& keyValue, std::span<const std::int64_t> slots,
                      const LayerCache& cache) {
  ops_->kvAppend({.k = keyValue.k,
                  .v = keyValue.v,
                  .slots = slots,
                  .keys = cache.keys,
                  .values = cache.values,
                  .keyScales = cache.keyScales,
                  .valueScales = cache.valueScales});
}

TensorView T5Layers::query(const T5Weights::Attention& attention, const ConstTensorView& x) {
  const TensorView out = newRows(attention.q, x.shape[0], attentionInput_);
  ops_->linear({x, attention.q.get(), out});
  return out;
}

T5Layers::QueryKeyValue T5Layers::queryKeyValue(const T5Weights::Attention& attention,
                                                const ConstTensorView& x) {
  const QueryKeyValue out{newRows(attention.q, x.shape[0], attentionInput_),
                          newKeyValue(attention, x.shape[0])};
  const std::array<Linear, 3> products{{{x, attention.q.get(), out.q},
                                        {x, attention.k.get(), headsAsColumns(out.keyValue.k)},
                                        {x, attention.v.get(), headsAsColumns(out.keyValue.v)}}};
  ops_->linear(products);
  return out;
}

void T5Layers::addAttention(const T5Weights::Attention& attention, const AttentionShape& shape,
                            const ConstTensorView& queryInput, const KeyValue& keyValue,
                            const TensorView& hidden) {
  AttentionPrefill prefill;
  prefill.shape = shape;
  prefill.shape.kvHeadOf = attention.kvHeadOf;
  prefill.q = columnsAsHeads(query(attention, queryInput), config_.heads);
  prefill.k = keyValue.k;
  prefill.v = keyValue.v;
  const TensorView out = arena_.make(dtype_, {hidden.shape[0], config_.innerDim()});
  prefill.out = columnsAsHeads(out, config_.heads);
  ops_->attentionPrefill(prefill);
  addProjection(attention.o, out, hidden);
}

void T5Layers::addCachedAttention(const T5Weights::Attention& attention, const PagedKv& cache,
                                  const RelativeBias& bias, const TensorView& queries,
                                  const TensorView& hidden) {
  AttentionDecode decode;
  decode.cache = cache;
  decode.kvHeadOf = attention.kvHeadOf;
  decode.bias = bias;
  decode.q = columnsAsHeads(queries, config_.heads);
  const TensorView out = arena_.make(dtype_, {hidden.shape[0], config_.innerDim()});
  decode.out = columnsAsHeads(out, config_.heads);
  ops_->attentionDecode(decode);
  addProjection(attention.o, out, hidden);
}

void T5Layers::addFeedForward(const T5Weights::FeedForward& block, const TensorView& hidden) {
  const ArenaScope scope(arena_);
  const TensorView normed = normalise(block.norm, hidden);
  const bool isGated = block.linear != nullptr;
  const TensorView gate = newRows(block.gate, normed.shape[0], DType::float32);
  const TensorView linear =
      isGated ? newRows(block.linear, normed.shape[0], DType::float32) : TensorView{};
  const std::array<Linear, 2> products{
      {{normed, block.gate.get(), gate}, {normed, block.linear.get(), linear}}};
  ops_->linear(std::span(products).first(isGated ? 2 : 1));
  GatedActivation activation;
  activation.activation = config_.activation;
  activation.gate = gate;
  activation.linear = linear;
  activation.out = arena_.make(wideLinearInput(dtype_), {hidden.shape[0], config_.dFf});
  ops_->gatedActivation(activation);
  addProjection(block.out, activation.out, hidden);
}

void T5Layers::vocabulary(const T5Weights& weights, const ConstTensorView& normed,
                          const TensorView& logits) {
  Linear linear{normed, weights.head.get(), logits};
  if (config_.scaleDecoderOutputs) {
    linear.alpha = 1.0f / std::sqrt(static_cast<float>(config_.dModel));
  }
  ops_->linear(linear);
}

}  // namespace wgqa
