// The CUDA backend's operations, one file per family: each chooses a kernel and its grid, and
// launches it. Tensors lie on the session's device.
#pragma once

#include "ops/cuda/session.h"
#include "ops/ops.h"

namespace wgqa::cuda {

// embedding.cc
void embedding(const Embedding& p, Session& session);
void embeddingBackward(const EmbeddingBackward& p, Session& session);
// norm.cc
void rmsNorm(const RmsNorm& p, Session& session);
void rmsNormBackward(const RmsNormBackward& p, Session& session);
/// out[i] += the sum of partial [slices, count] over the slices, in an order that depends on their
/// number alone.
void sumSlices(const float* partial, std::int64_t slices, std::int64_t count, float* out,
               Session& session);
// dense.cc
std::unique_ptr<PackedWeight> pack(const ConstTensorView& weight, DType dtype, Session& session);
void linear(const Linear& p, Session& session);
void matmul(const Matmul& p, Session& session);
// quantised_products.cc: int8 weights
std::unique_ptr<PackedWeight> packQuantised(const ConstTensorView& weight, Session& session);
void linearQuantised(std::span<const Linear> products, Session& session);
/// With float16 weights and float32 rows and results.
void linearOfFloatRows(const Linear& p, Session& session);
// elementwise.cc
void dropout(const Dropout& p, Session& session);
void gatedActivation(const GatedActivation& p, Session& session);
void gatedActivationBackward(const GatedActivationBackward& p, Session& session);
void cast(const Cast& p, Session& session);
// attention_prefill.cc
void attentionPrefill(const AttentionPrefill& p, Session& session);
void attentionPrefillBackward(const AttentionPrefillBackward& p, Session& session);
// attention_decode.cc
void attentionDecode(const AttentionDecode& p, Session& session);
// kv_cache.cc
void kvAppend(const KvAppend& p, Session& session);
void copyBlocks(const CopyBlocks& p, Session& session);
// choose_tokens.cc
void chooseTokens(const ChooseTokens& p, Session& session);
// merge.cc
void mergeHeads(const MergeHeads& p, Session& session);
void mergeHeadsBackward(const MergeHeadsBackward& p, Session& session);
// merge_constraints.cc
void constrainMergeWeights(const ConstrainMergeWeights& p, Session& session);
void constrainMergeWeightsBackward(const ConstrainMergeWeightsBackward& p, Session& session);
// cross_entropy.cc
void crossEntropy(const CrossEntropy& p, Session& session);
void distilledCrossEntropy(const DistilledCrossEntropy& p, Session& session);
/// The sum of values[0, count), in an order that depends on the count alone; values[count] is
/// scratch. Waits for it.
double sumDoubles(double* values, std::int64_t count, Session& session);
// optimiser.cc
void adamW(const AdamW& p, Session& session);
void adafactor(const Adafactor& p, Session& session);
double squaredNorm(std::span<const ConstTensorView> tensors, Session& session);

}  // namespace wgqa::cuda
