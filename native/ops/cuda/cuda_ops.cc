#include "ops/cuda/cuda_ops.h"

#include <algorithm>

#include "ops/cuda/operations.h"

namespace wgqa {

std::unique_ptr<Ops> CudaOps::makeAnother() const { return std::make_unique<CudaOps>(device_); }

std::optional<std::string> CudaOps::whyUnsupported(const ComputeNeeds& needs) const {
  if (needs.dtype == DType::int32) {
    return "the cuda backend computes in float32, float16, bfloat16 or int8, not in int32";
  }
  if (needs.matmul && needs.dtype == DType::float16) {
    // bfloat16 has float32's range at the same rate: there is nothing to gain by scaling losses.
    return "the cuda backend does not train in float16, in which gradients underflow";
  }
  if (needs.matmul && needs.dtype == DType::int8) {
    return "the cuda backend multiplies int8 with packed weights only";
  }
  if (needs.attentionInput == DType::int32 || needs.attentionInput == DType::int8) {
    return "the cuda backend takes queries in float32, float16 or bfloat16, not in " +
           std::string(dtypeName(needs.attentionInput));
  }
  constexpr std::int64_t kLargestHead = 256;
  if (needs.headDim > kLargestHead) {
    return "the cuda backend has attention for heads of at most " + std::to_string(kLargestHead) +
           " numbers, not of " + std::to_string(needs.headDim);
  }
  return std::nullopt;
}

void CudaOps::upload(const void* host, const TensorView& to) {
  session_.stream().copyToDevice(to.data, host, static_cast<std::size_t>(to.bytes()));
}

void CudaOps::download(const ConstTensorView& from, void* host) {
  session_.stream().copyToHost(host, from.data, static_cast<std::size_t>(from.bytes()));
}

void CudaOps::copy(const ConstTensorView& from, const TensorView& to) {
  session_.stream().copyOnDevice(to.data, from.data, static_cast<std::size_t>(to.bytes()));
}

void CudaOps::zero(const TensorView& view) {
  session_.stream().fill(view.data, 0, static_cast<std::size_t>(view.bytes()));
}

void CudaOps::finish() { session_.stream().synchronize(); }

DType CudaOps::attentionInput(DType compute) const {
  return compute == DType::int8 ? DType::bfloat16 : compute;
}

cuda::Session& CudaOps::operation() {
  session_.beginOperation();
  return session_;
}

void CudaOps::embedding(const Embedding& p) { cuda::embedding(p, operation()); }

void CudaOps::embeddingBackward(const EmbeddingBackward& p) {
  cuda::embeddingBackward(p, operation());
}

void CudaOps::rmsNorm(const RmsNorm& p) { cuda::rmsNorm(p, operation()); }

void CudaOps::rmsNormBackward(const RmsNormBackward& p) { cuda::rmsNormBackward(p, operation()); }

std::unique_ptr<PackedWeight> CudaOps::pack(const ConstTensorView& weight, DType dtype) {
  return dtype == DType::int8 ? cuda::packQuantised(weight, operation())
                              : cuda::pack(weight, dtype, operation());
}

void CudaOps::linear(std::span<const Linear> products) {
  for (const Linear& p : products) times_.weightBytes += p.weight->bytes;
  if (!products.empty() && products.front().weight->dtype == DType::int8) {
    return cuda::linearQuantised(products, operation());
  }
  for (const Linear& p : products) {
    if (p.weight->dtype == DType::float16 && p.x.dtype == DType::float32) {
      cuda::linearOfFloatRows(p, operation());
    } else {
      cuda::linear(p, operation());
    }
  }
}

void CudaOps::matmul(const Matmul& p) { cuda::matmul(p, operation()); }

void CudaOps::dropout(const Dropout& p) { cuda::dropout(p, operation()); }

void CudaOps::gatedActivation(const GatedActivation& p) { cuda::gatedActivation(p, operation()); }

void CudaOps::gatedActivationBackward(const GatedActivationBackward& p) {
  cuda::gatedActivationBackward(p, operation());
}

void CudaOps::cast(const Cast& p) { cuda::cast(p, operation()); }

void CudaOps::attentionPrefill(const AttentionPrefill& p) {
  cuda::attentionPrefill(p, operation());
}

void CudaOps::attentionPrefillBackward(const AttentionPrefillBackward& p) {
  cuda::attentionPrefillBackward(p, operation());
}

void CudaOps::attentionDecode(const AttentionDecode& p) { cuda::attentionDecode(p, operation()); }

void CudaOps::kvAppend(const KvAppend& p) { cuda::kvAppend(p, operation()); }

void CudaOps::copyBlocks(const CopyBlocks& p) { cuda::copyBlocks(p, operation()); }

void CudaOps::chooseTokens(const ChooseTokens& p) { cuda::chooseTokens(p, operation()); }

void CudaOps::mergeHeads(const MergeHeads& p) { cuda::mergeHeads(p, operation()); }

void CudaOps::mergeHeadsBackward(const MergeHeadsBackward& p) {
  cuda::mergeHeadsBackward(p, operation());
}

void CudaOps::constrainMergeWeights(const ConstrainMergeWeights& p) {
  cuda::constrainMergeWeights(p, operation());
}

void CudaOps::constrainMergeWeightsBackward(const ConstrainMergeWeightsBackward& p) {
  cuda::constrainMergeWeightsBackward(p, operation());
}

void CudaOps::crossEntropy(const CrossEntropy& p) { cuda::crossEntropy(p, operation()); }

void CudaOps::distilledCrossEntropy(const DistilledCrossEntropy& p) {
  cuda::distilledCrossEntropy(p, operation());
}

void CudaOps::adamW(const AdamW& p) { cuda::adamW(p, operation()); }

void CudaOps::adafactor(const Adafactor& p) { cuda::adafactor(p, operation()); }

double CudaOps::squaredNorm(std::span<const ConstTensorView> tensors) {
  return cuda::squaredNorm(tensors, operation());
}

}  // namespace wgqa
