// T5 without gradients: what a decode engine asks of it, and teacher-forced passes.
#pragma once

#include <memory>

#include "model/decode_step.h"
#include "model/t5_layers.h"
#include "model/t5_model.h"
#include "model/t5_teacher_forced.h"

namespace wgqa {

/// Used by one thread at a time; several over one model by as many. Each call works with the
/// parameters' values at its time, and parameters change between calls only.
class T5Inference final : public EncoderDecoder {
 public:
  /// `ops` is an instance of the model's backend that no other thread uses. The model must outlive
  /// this object.
  T5Inference(T5Model& model, std::shared_ptr<Ops> ops);

  CacheShape cacheShape() const override;
  std::int64_t vocabSize() const override { return config_.vocabSize; }
  void checkCacheType(DType dtype) const override;
  std::unique_ptr<SourceEncoding> startEncoding(SourceBatch batch) override;
  void decodeStep(const DecodeStep& step) override;
  std::int64_t weightBytesRead() const override { return weightBytesRead_; }
  std::uint64_t weightsVersion() const override { return model_.weightsVersion(); }
  Memory& memory() override { return layers_.ops().memory(); }
  void copyBlocks(const CopyBlocks& p) override { layers_.ops().copyBlocks(p); }

  /// `logits` [decoder tokens, vocab] and `encoderStates` [encoder tokens, dModel], both on the
  /// host, may be not given. Throws ErrorCode::aborted between layers once `abort` is set.
  TeacherForcedResult teacherForced(const TeacherForcedBatch& batch, const TensorView& logits,
                                    const TensorView& encoderStates, const AbortFlag* abort);

  std::int64_t scratchBytes() const { return static_cast<std::int64_t>(layers_.arena().bytes()); }

 private:
  void addLosses(const TeacherForcedBatch& batch, std::int64_t begin, const TensorView& logits,
                 std::span<double> sums);
  TensorView rowsOf(const TensorView& hidden, std::span<const std::int32_t> rows);
  TensorView resultIn(const TensorView& host);
  TensorView decoded(const T5Weights& weights, const DecodeStep& step);
  TensorView chooseTokens(const DecodeStep& step, const TensorView& logits);

  T5Model& model_;
  const T5Config& config_;
  T5Layers layers_;
  std::int64_t weightBytesRead_ = 0;
};

}  // namespace wgqa
