// The mathematics of the operations, in double from end to end, so that a test can also take finite
// differences of them. reference_ops.cc rounds to and from the tensors of the interface; shapes and
// letters are those of ops/ops.h.
#pragma once

#include <cstdint>
#include <span>

#include "ops/ops.h"
#include "ops/reference/wide.h"

namespace wgqa::reference {

// ---------------------------------------------------------------------------- normalisation

struct Normalised {
  Wide out;         // [rows, dModel]
  Wide inverseRms;  // [rows]
};
Normalised rmsNorm(const Wide& x, const Wide& weight, double epsilon);

struct NormGradients {
  Wide x;       // [rows, dModel]
  Wide weight;  // [dModel]
};
NormGradients rmsNormBackward(const Wide& x, const Wide& weight, const Wide& inverseRms,
                              const Wide& gradOut);

// ---------------------------------------------------------------------------- dense products

/// [m, k] @ [k, n].
Wide matmul(const Wide& a, const Wide& b, std::int64_t m, std::int64_t k, std::int64_t n);

// ---------------------------------------------------------------------------- elementwise

/// What dropout multiplies the element (row, column) by: 0 or 1 / (1 - rate).
double dropoutFactor(const DropoutSpec& dropout, std::int64_t row, std::int64_t column);

/// `residual` may be empty.
Wide dropout(const Wide& x, const Wide& residual, const DropoutSpec& spec, std::int64_t columns);

/// `linear` may be empty.
struct GatedInputs {
  Activation activation = Activation::relu;
  Wide gate;    // [rows, columns]
  Wide linear;  // same, or empty
  DropoutSpec dropout;
  std::int64_t columns = 0;
};
Wide gatedActivation(const GatedInputs& p);

struct GatedGradients {
  Wide gate;
  Wide linear;  // empty if the input is
};
GatedGradients gatedActivationBackward(const GatedInputs& p, const Wide& gradOut);

// ---------------------------------------------------------------------------- attention

struct AttentionInputs {
  AttentionShape shape;  // its bias' table is not read: see `bias`
  std::int64_t kvHeads = 0;
  std::int64_t headDim = 0;
  Wide q;                    // [queryTokens, heads, headDim]
  Wide k;                    // [keyTokens, kvHeads, headDim]
  Wide v;                    // [keyTokens, kvHeads, headDim]
  Wide bias;                 // [buckets, heads], or empty
  std::int32_t buckets = 0;  // of the bias

  std::int64_t heads() const { return static_cast<std::int64_t>(shape.kvHeadOf.size()); }
};

struct Attended {
  Wide out;        // [queryTokens, heads, headDim]
  Wide logSumExp;  // [queryTokens, heads]; -infinity for a query that sees no key
};
Attended attention(const AttentionInputs& p);

struct AttentionGradients {
  Wide q;
  Wide k;
  Wide v;
  Wide bias;  // [buckets, heads], or empty
};
AttentionGradients attentionBackward(const AttentionInputs& p, const Wide& gradOut);

// ---------------------------------------------------------------------------- merge weights

struct MergeInputs {
  MergeGranularity granularity = MergeGranularity::head;
  std::span<const std::int32_t> kvHeadOf;  // [heads]
  std::int64_t kvHeads = 0;
  std::int64_t headDim = 0;
  std::int64_t dModel = 0;
  Wide base;    // [heads, headDim, dModel]
  Wide weight;  // by granularity
};
Wide mergeHeads(const MergeInputs& p);

struct MergeGradients {
  Wide base;
  Wide weight;
};
MergeGradients mergeHeadsBackward(const MergeInputs& p, const Wide& gradMerged);

struct MergeConstraintInputs {
  MergeConstraint constraint = MergeConstraint::softmax;
  std::span<const std::int32_t> kvHeadOf;  // [heads]
  std::int64_t elements = 0;               // of a head's weight
  Wide raw;                                // [heads, elements]
};
Wide constrainMergeWeights(const MergeConstraintInputs& p);

/// The gradient of raw.
Wide constrainMergeWeightsBackward(const MergeConstraintInputs& p, const Wide& weight,
                                   const Wide& gradWeight);

// ---------------------------------------------------------------------------- loss

struct Loss {
  double sum = 0.0;
  Wide gradLogits;  // d sum / d logits, [rows, vocab]
};
Loss crossEntropy(const Wide& logits, std::span<const std::int32_t> labels, std::int64_t vocab);

struct Distillation {
  std::int64_t vocab = 0;
  double teacherWeight = 0.0;
  double temperature = 1.0;
};
struct DistilledLoss {
  double crossEntropy = 0.0;
  double distillation = 0.0;  // temperature^2 * KL
  Wide gradLogits;            // of both, weighted, [rows, vocab]
};
DistilledLoss distilledCrossEntropy(const Wide& logits, const Wide& teacherLogits,
                                    std::span<const std::int32_t> labels, const Distillation& p);

}  // namespace wgqa::reference
