// A forward pass over given targets: all states at once, logits in parts.
#pragma once

#include <span>
#include <vector>

#include "model/t5_layers.h"
#include "model/t5_model.h"

namespace wgqa {

/// A ragged batch for a teacher-forced pass.
struct TeacherForcedBatch {
  std::span<const std::int32_t> encoderIds;
  RaggedOffsets encoder;
  std::span<const std::int32_t> decoderIds;  // decoder inputs: the start token, then the labels
  RaggedOffsets decoder;
  std::span<const std::int32_t> labels;  // [decoder tokens] or empty
};

struct TeacherForcedResult {
  std::vector<double> lossSums;  // [sequences]: cross-entropy of the counted labels; or empty
};

/// Told what each attention of a pass reads: rows [tokens, dModel] of the compute type, those that
/// queries and those that keys and values are made of. They are gone when it returns.
class AttentionInputObserver {
 public:
  virtual ~AttentionInputObserver() = default;
  virtual void observe(AttentionModule module, std::int64_t layer,
                       const ConstTensorView& queryInput, const ConstTensorView& keyInput) = 0;
};

/// A pass under way, with scratch memory of `layers` and the parameters' values at its start, which
/// nobody changes while it lives.
class T5TeacherForcedPass {
 public:
  /// Computes all states; those of the encoder, [encoder tokens, dModel] float32, stay in
  /// `encoderStates`. `observer` may be null. Throws ErrorCode::aborted between layers once `abort`
  /// is set.
  T5TeacherForcedPass(T5Model& model, T5Layers& layers, const TeacherForcedBatch& batch,
                      const TensorView& encoderStates, const AbortFlag* abort,
                      AttentionInputObserver* observer = nullptr);

  /// Decoder tokens.
  std::int64_t rows() const { return states_.shape[0]; }
  /// Logits of as many rows as `out` [rows, vocab] float32 has, from the row `begin` on.
  void logits(std::int64_t begin, const TensorView& out) const;

 private:
  void tell(AttentionModule module, std::int64_t layer, const ConstTensorView& queryInput,
            const ConstTensorView& keyInput) const {
    if (observer_ != nullptr) observer_->observe(module, layer, queryInput, keyInput);
  }
  void tellEncoderInput(std::int64_t layer, const TensorView& hidden) const;
  void encode(const TeacherForcedBatch& batch, const TensorView& states,
              const AbortFlag* abort) const;
  TensorView decode(const TeacherForcedBatch& batch, const ConstTensorView& encoderStates,
                    const AbortFlag* abort) const;

  T5Layers& layers_;
  T5Model::CurrentWeights weights_;
  AttentionInputObserver* observer_;
  ConstTensorView states_;  // after the final norm, of the compute type
};

}  // namespace wgqa
