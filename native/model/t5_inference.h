// T5 without gradients: encoder, teacher-forced decoder and single decoding steps over a paged
// cache, with packed weights in the model's compute type.
//
// Residual stream and attention inputs are float32; what enters a dense product has the compute
// type (bfloat16 products accumulate in float32), since T5's feed-forward overflows half precision.
#pragma once

#include <memory>
#include <vector>

#include "model/arena.h"
#include "model/decode_step.h"
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
  double lossSum = 0.0;
  std::int64_t lossTokens = 0;
};

class T5Inference final : public EncoderDecoder {
 public:
  /// Packs the weights of `model`, which must outlive this object.
  explicit T5Inference(T5Model& model);

  CacheShape cacheShape() const override;
  std::int64_t vocabSize() const override { return config_.vocabSize; }
  std::int64_t stateSize() const override { return config_.dModel; }
  void encode(std::span<const std::int32_t> ids, const RaggedOffsets& offsets,
              const TensorView& states) override;
  void appendCross(const CrossAppend& append) override;
  void decodeStep(const DecodeStep& step) override;
  std::int64_t weightBytesRead() const override { return weightBytesRead_; }

  /// `logits` [decoder tokens, vocab] and `encoderStates` [encoder tokens, dModel] may be not
  /// given. Throws ErrorCode::aborted between layers once `abort` is set.
  TeacherForcedResult teacherForced(const TeacherForcedBatch& batch, const TensorView& logits,
                                    const TensorView& encoderStates, const AbortFlag* abort);

  /// Bytes of packed weights and scratch.
  std::int64_t bytes() const;

 private:
  struct PackedProjection {
    Buffer merged;  // float32 source of a merged projection, which packing may borrow
    std::unique_ptr<PackedWeight> weight;
  };
  struct PackedAttention {
    Parameter norm;
    PackedProjection q, k, v, o;
    std::span<const std::int32_t> kvHeadOf;
    std::int64_t kvHeads = 0;
  };
  struct PackedFeedForward {
    Parameter norm;
    PackedProjection gate, linear, out;
  };
  struct PackedBlock {
    PackedAttention self, cross;
    PackedFeedForward feedForward;
  };
  struct PackedStack {
    std::vector<PackedBlock> blocks;
    Parameter relativeBias;
    Parameter finalNorm;
  };
  struct KeyValue {
    TensorView k, v;  // [tokens, kvHeads, headDim]
  };

  PackedProjection pack(const Parameter& weight);
  PackedProjection packMerged(AttentionModule module, const Parameter& base,
                              const Parameter& mergeWeight);
  PackedAttention packAttention(AttentionModule module, const AttentionParameters& parameters);
  PackedFeedForward packFeedForward(const FeedForwardParameters& parameters);
  PackedStack packStack(bool decoder, const StackParameters& parameters);

  TensorView embed(std::span<const std::int32_t> ids);
  TensorView normalise(const Parameter& weight, const ConstTensorView& hidden);
  TensorView project(const PackedProjection& weight, const ConstTensorView& x);
  void addProjection(const PackedProjection& weight, const ConstTensorView& x,
                     const TensorView& hidden);
  void feedForward(const PackedFeedForward& block, const TensorView& hidden);
  KeyValue keyValue(const PackedAttention& attention, const ConstTensorView& x);
  void wholeAttention(const PackedAttention& attention, const AttentionShape& shape,
                      const ConstTensorView& queryInput, const KeyValue& keyValue,
                      const TensorView& hidden);
  void cachedAttention(const PackedAttention& attention, const PagedKv& cache,
                       const RelativeBias& bias, const ConstTensorView& queryInput,
                       const TensorView& hidden);
  void encodeInto(std::span<const std::int32_t> ids, const RaggedOffsets& offsets,
                  const TensorView& states, const AbortFlag* abort);
  TensorView decodeWhole(const TeacherForcedBatch& batch, const ConstTensorView& states,
                         const AbortFlag* abort);
  void vocabulary(const ConstTensorView& normed, const TensorView& logits);
  ConstTensorView toCompute(const ConstTensorView& x);
  RelativeBias biasOf(const PackedStack& stack, bool bidirectional) const;

  T5Model& model_;
  const T5Config& config_;
  Ops& ops_;
  DType dtype_;
  Parameter embedding_;
  PackedStack encoder_;
  PackedStack decoder_;
  PackedProjection head_;
  Arena arena_;
  std::int64_t weightBytesRead_ = 0;
};

}  // namespace wgqa
