// The CPU backend: kernels of our own, and oneDNN for the dense products of training.
#pragma once

#include "ops/cpu/linear.h"
#include "ops/cpu/matmul.h"
#include "ops/cpu/scratch.h"
#include "ops/host_ops.h"

namespace wgqa {

class CpuOps final : public HostOps {
 public:
  std::string_view name() const override { return "cpu"; }
  std::unique_ptr<Ops> makeAnother() const override { return makeCpuOps(); }
  std::optional<std::string> whyUnsupported(const ComputeNeeds& needs) const override;

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
  cpu::Scratch scratch_;
  cpu::LinearProducts linear_;
  cpu::MatmulProducts matmul_;
  OpTimes times_;
};

}  // namespace wgqa
