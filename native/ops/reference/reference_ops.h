// The reference backend: each operation loads its tensors into doubles, calls the function of that
// name in functions.h and rounds the result. One file per family of operations defines the members.
#pragma once

#include <chrono>

#include "ops/host_ops.h"

namespace wgqa::reference {

/// Adds the time of its scope to a total.
class ScopeTimer {
 public:
  explicit ScopeTimer(double& totalSeconds) : totalSeconds_(totalSeconds) {}
  ~ScopeTimer() { totalSeconds_ += std::chrono::duration<double>(Clock::now() - start_).count(); }
  ScopeTimer(const ScopeTimer&) = delete;
  ScopeTimer& operator=(const ScopeTimer&) = delete;

 private:
  using Clock = std::chrono::steady_clock;
  double& totalSeconds_;
  Clock::time_point start_ = Clock::now();
};

/// Not final: a test may look on.
class ReferenceOps : public HostOps {
 public:
  std::string_view name() const override { return "reference"; }
  std::unique_ptr<Ops> makeAnother() const override { return makeReferenceOps(); }
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
  OpTimes times_;
};

}  // namespace wgqa::reference
