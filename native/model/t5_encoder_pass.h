// The encoder over a ragged batch, in phases that may be done some rows at a time. A phase of a
// layer needs the phase before it for all rows; how the rows of a phase are divided changes no
// result.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/t5_layers.h"

namespace wgqa {

class T5EncoderPass {
 public:
  /// What a pass keeps from phase to phase.
  struct State {
    TensorView hidden;  // [tokens, dModel] float32
    KeyValue keyValue;  // of the current layer, [tokens, encoderSelf.kvHeads, dKv]
  };
  struct Rows {
    std::int64_t begin = 0;
    std::int64_t count = 0;

    std::int64_t end() const { return begin + count; }
  };

  /// Scratch memory is that of `layers`; `offsets` and `state` outlive the pass.
  T5EncoderPass(T5Layers& layers, RaggedOffsets offsets, const State& state)
      : layers_(layers), offsets_(offsets), state_(state) {}

  // The phases in their order: embed(), then for each layer keyValues() and block().
  void embed(const T5Weights& weights, std::span<const std::int32_t> batchIds, Rows rows);
  void keyValues(const T5Weights& weights, std::int64_t layer, Rows rows);
  void block(const T5Weights& weights, std::int64_t layer, Rows rows);
  /// The encoder's output for these rows into `states` [rows.count, dModel], float32 or the compute
  /// type. Changes nothing.
  void states(const T5Weights& weights, Rows rows, const TensorView& states);

 private:
  std::int64_t firstSourceOf(Rows rows) const;
  AttentionShape shapeOf(Rows rows);

  T5Layers& layers_;
  RaggedOffsets offsets_;
  State state_;
  // The part of the batch that some rows attend in, as AttentionShape wants it.
  std::vector<std::int32_t> queries_, keys_, firstPositions_;
};

}  // namespace wgqa
