// What T5's passes without gradients are built of: each works on rows of a ragged batch, with
// scratch memory that lives until the arena's next reset.
//
// The residual stream is float32, since T5's feed-forward overflows half precision; what enters a
// dense product has the compute type (16-bit products accumulate in float32), but for activations,
// which leave the range of float16; and queries, keys and values have the type that the backend
// wants.
#pragma once

#include <memory>
#include <span>

#include "model/arena.h"
#include "model/decode_step.h"
#include "model/t5_config.h"
#include "model/t5_weights.h"
#include "ops/ops.h"

namespace wgqa {

/// Keys and values, [tokens, kvHeads, headDim] of T5Layers::attentionInput().
struct KeyValue {
  TensorView k, v;
};

/// Used by one thread at a time. Every row's result depends on its own sequence alone.
class T5Layers {
 public:
  /// `compute`: the packed weights' type.
  T5Layers(const T5Config& config, DType compute, std::shared_ptr<Ops> ops)
      : config_(config),
        dtype_(linearInput(compute)),
        ops_(std::move(ops)),
        attentionInput_(ops_->attentionInput(compute)),
        arena_(ops_->memory()) {}

  const T5Config& config() const { return config_; }
  Ops& ops() { return *ops_; }
  const Ops& ops() const { return *ops_; }
  Arena& arena() { return arena_; }
  const Arena& arena() const { return arena_; }
  DType attentionInput() const { return attentionInput_; }

  /// Into `hidden` [ids, dModel] float32.
  void embed(const T5Weights& weights, std::span<const std::int32_t> ids, const TensorView& hidden);
  TensorView embed(const T5Weights& weights, std::span<const std::int32_t> ids);
  /// Into `out`, float32 or the compute type.
  void normalise(const T5Weights::Table& norm, const ConstTensorView& hidden,
                 const TensorView& out);
  /// [rows, dModel] of the compute type.
  TensorView normalise(const T5Weights::Table& norm, const ConstTensorView& hidden);
  ConstTensorView toCompute(const ConstTensorView& x);

  /// Writes the keys and values of rows `x`, which have the compute type.
  void keyValue(const T5Weights::Attention& attention, const ConstTensorView& x,
                const KeyValue& out);
  KeyValue keyValue(const T5Weights::Attention& attention, const ConstTensorView& x);
  /// Writes them into `slots` of a layer's cache.
  void append(const KeyValue& keyValue, std::span<const std::int64_t> slots,
              const LayerCache& cache);

  /// Adds attention over whole sequences to `hidden`. The head map and the sizes of `shape` are
  /// those of `attention`.
  void addAttention(const T5Weights::Attention& attention, const AttentionShape& shape,
                    const ConstTensorView& queryInput, const KeyValue& keyValue,
                    const TensorView& hidden);
  /// Queries of rows `x`, [rows, heads * headDim].
  TensorView query(const T5Weights::Attention& attention, const ConstTensorView& x);
  /// Queries, keys and values of the same rows.
  struct QueryKeyValue {
    TensorView q;
    KeyValue keyValue;
  };
  QueryKeyValue queryKeyValue(const T5Weights::Attention& attention, const ConstTensorView& x);

  /// Adds attention of one query per sequence over its cached keys to `hidden`.
  void addCachedAttention(const T5Weights::Attention& attention, const PagedKv& cache,
                          const RelativeBias& bias, const TensorView& queries,
                          const TensorView& hidden);
  /// Adds the feed-forward part of a block to `hidden`.
  void addFeedForward(const T5Weights::FeedForward& block, const TensorView& hidden);
  /// [rows, vocab] logits of rows after the final norm.
  void vocabulary(const T5Weights& weights, const ConstTensorView& normed,
                  const TensorView& logits);

  RelativeBias bias(const T5Weights::Stack& stack, bool bidirectional) const {
    return {stack.relativeBias.values, bidirectional, config_.relativeMaxDistance};
  }

 private:
  KeyValue newKeyValue(const T5Weights::Attention& attention, std::int64_t rows);
  TensorView newRows(const T5Weights::Projection& weight, std::int64_t rows, DType dtype);
  void addProjection(const T5Weights::Projection& weight, const ConstTensorView& x,
                     const TensorView& hidden);

  const T5Config& config_;
  DType dtype_;
  std::shared_ptr<Ops> ops_;
  DType attentionInput_;
  Arena arena_;
};

}  // namespace wgqa
