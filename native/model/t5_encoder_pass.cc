#include "model/t5_encoder_pass.h"

#include <algorithm>

namespace wgqa {

void T5EncoderPass::embed(const T5Weights& weights, std::span<const std::int32_t> batchIds,
                          Rows rows) {
  layers_.embed(weights, batchIds.subspan(rows.begin, rows.count),
                state_.hidden.rows(rows.begin, rows.count));
}

void T5EncoderPass::keyValues(const T5Weights& weights, std::int64_t layer, Rows rows) {
  const ArenaScope scope(layers_.arena());
  const T5Weights::Attention& attention = weights.encoder.blocks[layer].self;
  const TensorView hidden = state_.hidden.rows(rows.begin, rows.count);
  layers_.keyValue(attention, layers_.normalise(attention.norm, hidden),
                   {state_.keyValue.k.rows(rows.begin, rows.count),
                    state_.keyValue.v.rows(rows.begin, rows.count)});
}

void T5EncoderPass::block(const T5Weights& weights, std::int64_t layer, Rows rows) {
  const T5Weights::Block& block = weights.encoder.blocks[layer];
  const TensorView hidden = state_.hidden.rows(rows.begin, rows.count);
  {
    const ArenaScope scope(layers_.arena());
    AttentionShape shape = shapeOf(rows);
    shape.bias = layers_.bias(weights.encoder, true);
    const std::int64_t firstKey = offsets_.offsets[firstSourceOf(rows)];
    const std::int64_t keys = shape.keys.tokens();
    layers_.addAttention(
        block.self, shape, layers_.normalise(block.self.norm, hidden),
        {state_.keyValue.k.rows(firstKey, keys), state_.keyValue.v.rows(firstKey, keys)}, hidden);
  }
  layers_.addFeedForward(block.feedForward, hidden);
}

void T5EncoderPass::states(const T5Weights& weights, Rows rows, const TensorView& states) {
  layers_.normalise(weights.encoder.finalNorm, state_.hidden.rows(rows.begin, rows.count), states);
}

std::int64_t T5EncoderPass::firstSourceOf(Rows rows) const {
  const auto offsets = offsets_.offsets;
  return std::upper_bound(offsets.begin(), offsets.end(), rows.begin) - offsets.begin() - 1;
}

AttentionShape T5EncoderPass::shapeOf(Rows rows) {
  queries_.assign(1, 0);
  keys_.assign(1, 0);
  firstPositions_.clear();
  for (std::int64_t source = firstSourceOf(rows);
       source < offsets_.sequences() && offsets_.offsets[source] < rows.end(); ++source) {
    const std::int64_t begin = std::max<std::int64_t>(rows.begin, offsets_.offsets[source]);
    const std::int64_t end = std::min<std::int64_t>(rows.end(), offsets_.offsets[source + 1]);
    queries_.push_back(queries_.back() + static_cast<std::int32_t>(end - begin));
    keys_.push_back(keys_.back() + static_cast<std::int32_t>(offsets_.length(source)));
    firstPositions_.push_back(static_cast<std::int32_t>(begin - offsets_.offsets[source]));
  }
  AttentionShape shape;
  shape.queries = {queries_};
  shape.keys = {keys_};
  shape.firstPositions = firstPositions_;
  return shape;
}

}  // namespace wgqa
