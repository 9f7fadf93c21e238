#include "ops/cpu/cpu_ops.h"

#include <chrono>

#include "isa/instruction_set.h"
#include "ops/cpu/attention.h"
#include "ops/cpu/kernels.h"

namespace wgqa {
namespace {

/// Adds its lifetime to a counter of seconds.
class Stopwatch {
 public:
  explicit Stopwatch(double& seconds) : seconds_(seconds) {}
  ~Stopwatch() { seconds_ += std::chrono::duration<double>(Clock::now() - start_).count(); }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

 private:
  using Clock = std::chrono::steady_clock;
  double& seconds_;
  Clock::time_point start_ = Clock::now();
};

}  // namespace

std::optional<std::string> CpuOps::whyUnsupported(const ComputeNeeds& needs) const {
  if (needs.attentionInput != DType::float32) {
    return "the cpu backend takes queries, keys and values in float32, not in " +
           std::string(dtypeName(needs.attentionInput));
  }
  if (needs.cache == DType::float16 || needs.cache == DType::int32) {
    return "the cpu backend keeps keys and values in float32, bfloat16 or int8, not in " +
           std::string(dtypeName(needs.cache));
  }
  if (needs.matmul && needs.dtype == DType::int8) {
    return "the cpu backend multiplies int8 with packed weights only";
  }
  if (needs.matmul && needs.dtype == DType::bfloat16 && !cpu::MatmulProducts::runsBFloat16()) {
    return "oneDNN has no bfloat16 products for this processor";
  }
  if (needs.dtype == DType::float32 || needs.dtype == DType::bfloat16 ||
      needs.dtype == DType::int8) {
    return std::nullopt;
  }
  return "the cpu backend computes in float32, bfloat16 or int8, not in " +
         std::string(dtypeName(needs.dtype));
}

void CpuOps::embedding(const Embedding& p) { cpu::embedding(p); }

void CpuOps::embeddingBackward(const EmbeddingBackward& p) { cpu::embeddingBackward(p); }

void CpuOps::rmsNorm(const RmsNorm& p) { cpu::rmsNorm(p); }

void CpuOps::rmsNormBackward(const RmsNormBackward& p) { cpu::rmsNormBackward(p, scratch_); }

std::unique_ptr<PackedWeight> CpuOps::pack(const ConstTensorView& weight, DType dtype) {
  return linear_.pack(weight, dtype);
}

void CpuOps::linear(std::span<const Linear> products) {
  const Stopwatch watch(times_.denseSeconds);
  linear_.run(products, scratch_);
  for (const Linear& p : products) times_.weightBytes += p.weight->bytes;
}

void CpuOps::matmul(const Matmul& p) {
  const Stopwatch watch(times_.denseSeconds);
  matmul_.run(p);
}

void CpuOps::dropout(const Dropout& p) { cpu::dropout(p); }

void CpuOps::gatedActivation(const GatedActivation& p) { cpu::gatedActivation(p); }

void CpuOps::gatedActivationBackward(const GatedActivationBackward& p) {
  cpu::gatedActivationBackward(p);
}

void CpuOps::cast(const Cast& p) { cpu::cast(p); }

void CpuOps::attentionPrefill(const AttentionPrefill& p) {
  const Stopwatch watch(times_.attentionSeconds);
  cpu::attentionPrefill(p, scratch_);
}

void CpuOps::attentionPrefillBackward(const AttentionPrefillBackward& p) {
  const Stopwatch watch(times_.attentionSeconds);
  cpu::attentionPrefillBackward(p, scratch_);
}

void CpuOps::attentionDecode(const AttentionDecode& p) {
  const Stopwatch watch(times_.attentionSeconds);
  cpu::attentionDecode(p, scratch_);
}

void CpuOps::kvAppend(const KvAppend& p) { cpu::kvAppend(p, scratch_); }

void CpuOps::mergeHeads(const MergeHeads& p) { cpu::mergeHeads(p); }

void CpuOps::mergeHeadsBackward(const MergeHeadsBackward& p) { cpu::mergeHeadsBackward(p); }

void CpuOps::constrainMergeWeights(const ConstrainMergeWeights& p) {
  cpu::constrainMergeWeights(p);
}

void CpuOps::constrainMergeWeightsBackward(const ConstrainMergeWeightsBackward& p) {
  cpu::constrainMergeWeightsBackward(p);
}

void CpuOps::crossEntropy(const CrossEntropy& p) { cpu::crossEntropy(p, scratch_); }

void CpuOps::distilledCrossEntropy(const DistilledCrossEntropy& p) {
  cpu::distilledCrossEntropy(p, scratch_);
}

void CpuOps::adamW(const AdamW& p) { cpu::adamW(p); }

void CpuOps::adafactor(const Adafactor& p) { cpu::adafactor(p, scratch_); }

double CpuOps::squaredNorm(std::span<const ConstTensorView> tensors) {
  return cpu::squaredNorm(tensors, scratch_);
}

std::unique_ptr<Ops> makeCpuOps() {
  instructionSet();  // limits what is used of the processor, before it is used
  return std::make_unique<CpuOps>();
}

}  // namespace wgqa
