// The operations of ops.h that are our own kernels, as free functions: one file each. Every result
// is the same, bit for bit, for any number of threads.
#pragma once

#include <span>

#include "ops/cpu/scratch.h"
#include "ops/ops.h"

namespace wgqa::cpu {

void embedding(const Embedding& p);
void embeddingBackward(const EmbeddingBackward& p);
void rmsNorm(const RmsNorm& p);
void rmsNormBackward(const RmsNormBackward& p, Scratch& scratch);
void dropout(const Dropout& p);
void gatedActivation(const GatedActivation& p);
void gatedActivationBackward(const GatedActivationBackward& p);
void cast(const Cast& p);
void mergeHeads(const MergeHeads& p);
void mergeHeadsBackward(const MergeHeadsBackward& p);
void constrainMergeWeights(const ConstrainMergeWeights& p);
void constrainMergeWeightsBackward(const ConstrainMergeWeightsBackward& p);
void crossEntropy(const CrossEntropy& p, Scratch& scratch);
void distilledCrossEntropy(const DistilledCrossEntropy& p, Scratch& scratch);
void adamW(const AdamW& p);
void adafactor(const Adafactor& p, Scratch& scratch);
double squaredNorm(std::span<const ConstTensorView> tensors, Scratch& scratch);

}  // namespace wgqa::cpu
