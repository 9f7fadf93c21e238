// The CUDA backend: kernels of our own (kernels/), and cuBLASLt for dense products.
#pragma once

#include "ops/cuda/session.h"
#include "ops/ops.h"

namespace wgqa {

class CudaOps final : public Ops {
 public:
  /// The device outlives it.
  explicit CudaOps(cuda::Device& device) : device_(device), session_(device) {}

  std::string_view name() const override { return "cuda"; }
  std::unique_ptr<Ops> makeAnother() const override;
  std::optional<std::string> whyUnsupported(const ComputeNeeds& needs) const override;
  Memory& memory() override { return device_; }
  void upload(const void* host, const TensorView& to) override;
  void download(const ConstTensorView& from, void* host) override;
  void copy(const ConstTensorView& from, const TensorView& to) override;
  void zero(const TensorView& view) override;
  void finish() override;
  void beginStep() override { session_.beginStep(); }
  void endStep() override { session_.endStep(); }
  void abandonStep() noexcept override { session_.abandonStep(); }
  const cuda::StepCounts& stepCounts() const { return session_.stepCounts(); }
  std::int64_t saturatingRows() const override { return 8192; }
  DType attentionInput(DType compute) const override;

  void embedding(const Embedding& p) override;
  void embeddingBackward(const EmbeddingBackward& p) override;
  void rmsNorm(const RmsNorm& p) override;
  void rmsNormBackward(const RmsNormBackward& p) override;
  std::unique_ptr<PackedWeight> pack(const ConstTensorView& weight, DType dtype) override;
  using Ops::linear;
  void linear(std::span<const Linear> products) override;
  void matmul(const Matmul& p) override;
  void dropout(const Dropout& p) override;
  void gatedActivation(const GatedActivation& p) override;
  void gatedActivationBackward(const GatedActivationBackward& p) override;
  void cast(const Cast& p) override;
  void attentionPrefill(const AttentionPrefill& p) override;
  void attentionPrefillBackward(const AttentionPrefillBackward& p) override;
  void attentionDecode(const AttentionDecode& p) override;
  void kvAppend(const KvAppend& p) override;
  void copyBlocks(const CopyBlocks& p) override;
  void chooseTokens(const ChooseTokens& p) override;
  void mergeHeads(const MergeHeads& p) override;
  void mergeHeadsBackward(const MergeHeadsBackward& p) override;
  void constrainMergeWeights(const ConstrainMergeWeights& p) override;
  void constrainMergeWeightsBackward(const ConstrainMergeWeightsBackward& p) override;
  void crossEntropy(const CrossEntropy& p) override;
  void distilledCrossEntropy(const DistilledCrossEntropy& p) override;
  void adamW(const AdamW& p) override;
  void adafactor(const Adafactor& p) override;
  double squaredNorm(std::span<const ConstTensorView> tensors) override;

  OpTimes times() const override { return times_; }
  void resetTimes() override { times_ = {}; }

 private:
  cuda::Session& operation();

  cuda::Device& device_;
  cuda::Session session_;
  OpTimes times_;
};

}  // namespace wgqa
