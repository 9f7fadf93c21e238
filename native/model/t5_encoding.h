// Encoding of sources for decoding, in slices: the encoder, then the decoder's cross-attention keys
// and values, which go into the cache.
#pragma once

#include <cstdint>

#include "base/buffer.h"
#include "model/decode_step.h"
#include "model/t5_config.h"
#include "model/t5_encoder_pass.h"
#include "model/t5_model.h"

namespace wgqa {

/// What encoding costs, in multiplications of dense products and attention (norms, softmax and
/// activations are small beside them).
struct EncodingCost {
  explicit EncodingCost(const T5Config& config);

  std::int64_t keyValues;  // K/V projections: a row, in a layer
  std::int64_t block;      // the rest of a block without attention: a row, in a layer
  std::int64_t key;        // attention to one key: a row, in a layer
  std::int64_t cross;      // cross-attention K/V of all decoder layers: a row
  std::int64_t token;      // the unit of work: a row through all of it, attention not counted
};

/// Memory: the residual stream and one layer's keys and values of all tokens, freed with the
/// encoding; slices use the scratch memory of `layers`.
///
/// If parameters change under way, the slices that are left use the new ones: the result is then
/// that of neither, and weightsVersion() tells it.
class T5Encoding final : public SourceEncoding {
 public:
  T5Encoding(T5Model& model, T5Layers& layers, SourceBatch batch);

  std::int64_t workLeft() const override { return (left_ + cost_.token - 1) / cost_.token; }
  void advance(std::int64_t work) override;

 private:
  using Rows = T5EncoderPass::Rows;
  enum class Phase : std::uint8_t { keyValues, block, cross };

  std::int64_t tokens() const { return static_cast<std::int64_t>(batch_.ids.size()); }
  T5EncoderPass::State allocate(const T5Config& config);
  std::int64_t attentionCost(Rows rows) const;
  std::int64_t costOf(Rows rows) const;
  Rows nextRows(std::int64_t from) const;
  Rows rowsWithin(std::int64_t budget, std::int64_t& cost) const;
  void run(const T5Weights& weights, Rows rows);
  void appendCross(const T5Weights& weights, Rows rows);
  void moveOn(Rows rows);

  T5Model& model_;
  T5Layers& layers_;
  SourceBatch batch_;
  EncodingCost cost_;
  Buffer hidden_, keys_, values_;
  T5EncoderPass pass_;
  Phase phase_ = Phase::keyValues;
  std::int64_t layer_ = 0;
  std::int64_t row_ = 0;   // the first that the phase has not done
  std::int64_t left_ = 0;  // cost
};

}  // namespace wgqa
