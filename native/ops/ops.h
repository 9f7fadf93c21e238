// The interface between models and devices: every operation that a model needs, forward and
// backward. A model is written once over this class and never asks which backend it runs on.
//
// Shapes are written [slowest, ..., fastest]; the letters of the glossary:
//   tokens      rows of a ragged batch: the sequences one after another, no padding
//   heads       query heads; kvHeads: key/value heads, kvHeads divides heads in T5
//   headDim     size of a head (d_kv); dModel: residual width; vocab: vocabulary size
// "+=" in a comment: the operation adds to the tensor. Everything else is overwritten.
// Parameters are trusted: the model layer has checked ids, shapes and sizes before it calls.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/memory.h"
#include "base/philox.h"
#include "ops/row_choice.h"
#include "ops/tensor_view.h"

namespace wgqa {

/// Sequence boundaries of a ragged batch: sequence i owns rows [offsets[i], offsets[i + 1]).
struct RaggedOffsets {
  std::span<const std::int32_t> offsets;  // [sequences + 1], offsets[0] == 0

  std::int64_t sequences() const { return static_cast<std::int64_t>(offsets.size()) - 1; }
  std::int64_t tokens() const { return offsets.back(); }
  std::int64_t length(std::int64_t sequence) const {
    return offsets[sequence + 1] - offsets[sequence];
  }
};

/// Inverted dropout: element (row, column) is kept iff random.at(row, column) >= rate * 2^32, and
/// scaled by 1 / (1 - rate). rate 0 means no dropout.
struct DropoutSpec {
  float rate = 0.0f;
  RandomField random;

  std::uint32_t threshold() const {
    return static_cast<std::uint32_t>(static_cast<double>(rate) * 4294967296.0);
  }
};

// ---------------------------------------------------------------------------- token embedding

struct Embedding {
  std::span<const std::int32_t> ids;  // [tokens], each in [0, vocab)
  ConstTensorView table;              // [vocab, dModel] float32 | float16 | bfloat16
  TensorView out;                     // [tokens, dModel] float32
};

struct EmbeddingBackward {
  std::span<const std::int32_t> ids;  // [tokens]
  ConstTensorView gradOut;            // [tokens, dModel] float32
  TensorView gradTable;               // [vocab, dModel] float32, += in the order of the tokens
};

// ---------------------------------------------------------------------------- normalisation

/// out = x / sqrt(mean(x^2) + epsilon) * weight: T5's layer norm (no mean, no bias).
struct RmsNorm {
  ConstTensorView x;       // [rows, dModel] float32
  ConstTensorView weight;  // [dModel] float32
  float epsilon = 1e-6f;
  TensorView out;         // [rows, dModel] float32 | bfloat16 | Ops::attentionInput()
  TensorView inverseRms;  // [rows] float32, or not given: what the backward pass needs
};

struct RmsNormBackward {
  ConstTensorView x;           // [rows, dModel] float32
  ConstTensorView weight;      // [dModel] float32
  ConstTensorView inverseRms;  // [rows] float32
  ConstTensorView gradOut;     // [rows, dModel] float32
  TensorView gradX;            // [rows, dModel] float32, += (it joins the residual's gradient)
  TensorView gradWeight;       // [dModel] float32, +=
};

// ---------------------------------------------------------------------------- dense products

/// A weight in a backend's own layout, made once by Ops::pack.
class PackedWeight {
 public:
  virtual ~PackedWeight() = default;
  std::int64_t outFeatures = 0;
  std::int64_t inFeatures = 0;
  DType dtype = DType::float32;
  /// Bytes read when the weight is used once: what a bandwidth figure counts.
  std::int64_t bytes = 0;
};

/// What rows have that enter products with weights packed as `weight`: the same type, and float32
/// for int8 weights, whose products quantise the rows themselves.
constexpr DType linearInput(DType weight) {
  return weight == DType::int8 ? DType::float32 : weight;
}

/// The same of rows that may leave the range of float16 (65,504), as T5's activations do: float32
/// where weights are float16.
constexpr DType wideLinearInput(DType weight) {
  return weight == DType::float16 ? DType::float32 : linearInput(weight);
}

/// out = alpha * x @ weight^T + beta * out, with a packed weight. int8: weights are quantised per
/// output feature and rows of x as they come, both symmetrically by their largest magnitude; the
/// products are summed exactly. float16 weights and float32 rows: each row is multiplied by the
/// power of two that brings its largest magnitude to [2^14, 2^15), rounded to float16, and its
/// products are divided by it again, so that no row overflows or loses what is small in it alone.
struct Linear {
  ConstTensorView x;  // [rows, inFeatures] of linearInput() or wideLinearInput() of weight->dtype
  const PackedWeight* weight = nullptr;
  TensorView out;  // [rows, outFeatures] float32 | Ops::attentionInput(); float32 of wide rows
  float alpha = 1.0f;
  float beta = 0.0f;
};

/// c = alpha * a @ b + beta * c, summed in float32. Each operand has one dense dimension; use
/// transposed() for the rest.
struct Matmul {
  ConstTensorView a;  // [m, k] float32 | bfloat16
  ConstTensorView b;  // [k, n], of a's type
  TensorView c;       // [m, n] float32 | Ops::attentionInput(), rows dense
  float alpha = 1.0f;
  float beta = 0.0f;
};

// ---------------------------------------------------------------------------- elementwise

/// out = residual + dropout(x); without residual out = dropout(x). With the same spec applied to
/// the gradient it is its own backward pass. A float32 out may be x or residual.
struct Dropout {
  ConstTensorView x;         // [rows, columns] float32
  ConstTensorView residual;  // [rows, columns] float32, or not given
  DropoutSpec dropout;
  TensorView out;  // [rows, columns] float32 | bfloat16
};

/// relu(z); gelu(z) = z * Phi(z) with the normal distribution Phi; gelu in the tanh form
/// ("gelu_new"); silu(z) = z * sigmoid(z).
enum class Activation : std::uint8_t { relu, gelu, geluTanh, silu };

/// out = dropout(activation(gate) * linear); without linear, out = dropout(activation(gate)).
struct GatedActivation {
  Activation activation = Activation::relu;
  ConstTensorView gate;    // [rows, dFf] float32
  ConstTensorView linear;  // [rows, dFf] float32, or not given
  DropoutSpec dropout;
  TensorView out;  // [rows, dFf] float32 | bfloat16
};

struct GatedActivationBackward {
  Activation activation = Activation::relu;
  ConstTensorView gate;    // [rows, dFf] float32
  ConstTensorView linear;  // [rows, dFf] float32, or not given
  DropoutSpec dropout;
  ConstTensorView gradOut;  // [rows, dFf] float32
  TensorView gradGate;      // [rows, dFf] float32 | bfloat16; if float32, it may be gradOut
  TensorView gradLinear;    // [rows, dFf], of gradGate's type, given iff linear is
};

/// Element conversion of dense tensors of equal element count.
struct Cast {
  ConstTensorView x;  // float32 | float16 | bfloat16
  TensorView out;     // float32 | float16 | bfloat16
};

// ---------------------------------------------------------------------------- attention

/// T5's bucketed relative position bias: added to a score is table[bucket(key - query), head]
/// (Raffel et al. 2020, section 2.1; buckets as in the public T5 code, in float32 arithmetic).
struct RelativeBias {
  ConstTensorView table;  // [buckets, heads] float32, or not given: no bias
  bool bidirectional = false;
  std::int32_t maxDistance = 128;

  bool given() const { return table.given(); }
};

/// The bucket of a relative position (key position - query position).
std::int32_t relativeBucket(std::int64_t relativePosition, bool bidirectional, std::int32_t buckets,
                            std::int32_t maxDistance);

/// What forward and backward of whole-sequence attention share. Query i of a sequence stands at
/// firstPosition(sequence) + i and, if causal, sees the keys at positions up to its own.
struct AttentionShape {
  RaggedOffsets queries;
  RaggedOffsets keys;  // as many sequences as queries
  /// [sequences] where the first query of each stands among its keys, or empty: its last query
  /// stands at its last key. For some of a sequence's queries: position + queries <= keys. A
  /// query's result does not depend on which others come with it (but for dropout's rows). The
  /// backward pass takes none.
  std::span<const std::int32_t> firstPositions;
  std::span<const std::int32_t> kvHeadOf;  // [heads], ascending: K/V head that a query head reads
  float scale = 1.0f;                      // multiplies q.k; 1 in T5
  bool causal = false;
  RelativeBias bias;
  /// On the probabilities: row = queryToken * heads + head, column = key's place in its sequence.
  DropoutSpec dropout;

  std::int64_t firstPosition(std::int64_t sequence) const {
    return firstPositions.empty() ? keys.length(sequence) - queries.length(sequence)
                                  : firstPositions[sequence];
  }
};

/// out = dropout(softmax(scale * q k^T + bias)) v, per sequence and head, never materialising the
/// scores. A query that sees no key gives zeros.
struct AttentionPrefill {
  AttentionShape shape;
  ConstTensorView q;     // [queryTokens, heads, headDim] float32 | Ops::attentionInput()
  ConstTensorView k;     // [keyTokens, kvHeads, headDim], of q's type
  ConstTensorView v;     // [keyTokens, kvHeads, headDim], of q's type
  TensorView out;        // [queryTokens, heads, headDim] float32 | bfloat16 | q's type
  TensorView logSumExp;  // [queryTokens, heads] float32, or not given: what the backward needs
};

struct AttentionPrefillBackward {
  AttentionShape shape;
  ConstTensorView q;          // [queryTokens, heads, headDim] float32 | Ops::attentionInput()
  ConstTensorView k;          // [keyTokens, kvHeads, headDim], of q's type
  ConstTensorView v;          // [keyTokens, kvHeads, headDim], of q's type
  ConstTensorView out;        // [queryTokens, heads, headDim] float32 | bfloat16
  ConstTensorView logSumExp;  // [queryTokens, heads] float32
  ConstTensorView gradOut;    // [queryTokens, heads, headDim] float32
  TensorView gradQ;           // [queryTokens, heads, headDim] float32 | bfloat16
  TensorView gradK;           // [keyTokens, kvHeads, headDim], of gradQ's type
  TensorView gradV;           // as gradK
  TensorView gradBiasTable;   // [buckets, heads] float32, +=; given iff the bias is
};

/// Keys and values of one layer in fixed-size blocks, and which blocks each sequence reads. Blocks
/// may be further apart than their size. Keys lie transposed: a query meets those of a block at
/// once.
struct PagedKv {
  // [blocks, kvHeads, headDim, blockTokens] float32 | float16 | bfloat16 | int8
  ConstTensorView keys;
  ConstTensorView values;  // [blocks, kvHeads, blockTokens, headDim], of the keys' type
  // [blocks, kvHeads, blockTokens] float32, given with int8: what a key's, or a value's, integers
  // are multiplied by.
  ConstTensorView keyScales;
  ConstTensorView valueScales;
  std::span<const std::int32_t> blockTable;    // block ids of all sequences, one after another
  std::span<const std::int32_t> tableOffsets;  // [sequences + 1] into blockTable
  std::span<const std::int32_t> lengths;       // [sequences] keys held, >= 1
};

/// One query token per sequence, at position lengths[sequence] - 1, over all keys it holds.
struct AttentionDecode {
  PagedKv cache;
  std::span<const std::int32_t> kvHeadOf;  // [heads]
  float scale = 1.0f;
  RelativeBias bias;
  ConstTensorView q;  // [sequences, heads, headDim] float32 | Ops::attentionInput()
  TensorView out;     // [sequences, heads, headDim] float32 | bfloat16 | q's type
};

/// Writes rows of K and V into cache slots; slot = block * blockTokens + place in the block. int8:
/// each key and each value of a head is quantised by its own largest magnitude.
struct KvAppend {
  ConstTensorView k;  // [tokens, kvHeads, headDim] float32 | Ops::attentionInput()
  ConstTensorView v;  // [tokens, kvHeads, headDim], of k's type
  std::span<const std::int64_t> slots;  // [tokens], all different
  TensorView keys;                      // as those of PagedKv
  TensorView values;                    // as those of PagedKv
  TensorView keyScales;
  TensorView valueScales;
};

/// Copies whole blocks of a cache, in layers of one size; no block is a source and a destination.
struct CopyBlocks {
  TensorView blocks;                           // [layers, blocks, blockBytes] int8
  std::span<const std::int32_t> sources;       // [copies]
  std::span<const std::int32_t> destinations;  // [copies], all different
};

// ---------------------------------------------------------------------------- choosing tokens

/// Choices of some rows of logits, each of another row, and the lists that their ranges name.
struct TokenChoices {
  std::span<const RowChoice> rows;
  std::span<const std::int32_t> tokens;  // to penalise or forbid, each in [0, vocab)
  std::span<const double> uniforms;
};

/// Processes rows of logits and takes tokens of them, as their choices say.
struct ChooseTokens {
  TensorView logits;  // [rows, vocab] float32, overwritten
  TokenChoices choices;
  TensorView chosen;  // [results, sizeof(ChosenToken)] int8: those of all choices
};

// ---------------------------------------------------------------------------- merge weights

/// How fine the learned weights of a merge are (arXiv 2407.10855, Section 3): the shape of the
/// weight for heads seen as [heads, headDim, dModel].
enum class MergeGranularity : std::uint8_t {
  head,    // [heads, 1, 1]: WGQA
  row,     // [heads, 1, dModel]: ROWWGQA
  column,  // [heads, headDim, 1]: COLWGQA
};

/// merged[g] = sum over heads h of group g, in ascending order, of weight[h] * base[h].
struct MergeHeads {
  MergeGranularity granularity = MergeGranularity::head;
  ConstTensorView base;                    // [heads, headDim, dModel] float32
  ConstTensorView weight;                  // by granularity, rank 3, float32
  std::span<const std::int32_t> kvHeadOf;  // [heads], ascending: group of a head
  TensorView merged;                       // [kvHeads, headDim, dModel] float32
};

struct MergeHeadsBackward {
  MergeGranularity granularity = MergeGranularity::head;
  ConstTensorView base;                    // [heads, headDim, dModel] float32
  ConstTensorView weight;                  // by granularity, rank 3, float32
  std::span<const std::int32_t> kvHeadOf;  // [heads]
  ConstTensorView gradMerged;              // [kvHeads, headDim, dModel] float32
  TensorView gradBase;                     // [heads, headDim, dModel] float32, +=; or not given
  TensorView gradWeight;                   // by granularity, float32, +=
};

/// How merge weights come from the trained parameter, `raw`, of their shape: at each element of a
/// head's weight, from the raw values there of all heads j of the head's group.
enum class MergeConstraint : std::uint8_t {
  none,        // weights are trained themselves; no operation takes it
  softmax,     // exp(raw_h) / sum_j exp(raw_j): positive, their sum is one
  signedUnit,  // raw_h / sum_j |raw_j|: the sum of their magnitudes is one; all 0 where raw is
};

struct ConstrainMergeWeights {
  MergeConstraint constraint = MergeConstraint::softmax;
  ConstTensorView raw;                     // by granularity, rank 3, float32
  std::span<const std::int32_t> kvHeadOf;  // [heads], ascending: group of a head
  TensorView weight;                       // as raw
};

/// With g the gradient of the weights w: w_h (g_h - sum_j w_j g_j) for softmax; for signedUnit
/// (g_h - sign(raw_h) sum_j w_j g_j) / sum_j |raw_j|, and 0 where that is all 0.
struct ConstrainMergeWeightsBackward {
  MergeConstraint constraint = MergeConstraint::softmax;
  ConstTensorView raw;                     // by granularity, rank 3, float32
  ConstTensorView weight;                  // as raw: what ConstrainMergeWeights made of it
  std::span<const std::int32_t> kvHeadOf;  // [heads]
  ConstTensorView gradWeight;              // as raw
  TensorView gradRaw;                      // as raw, +=
};

// ---------------------------------------------------------------------------- loss

inline constexpr std::int32_t kIgnoredLabel = -100;

/// Softmax cross-entropy of each row against its label; rows labelled kIgnoredLabel count nothing.
struct CrossEntropy {
  ConstTensorView logits;                // [rows, vocab] float32
  std::span<const std::int32_t> labels;  // [rows], in [0, vocab) or kIgnoredLabel
  float gradScale = 0.0f;                // gradLogits = gradScale * (softmax - one-hot)
  TensorView gradLogits;      // [rows, vocab] float32 (may be logits) | bfloat16; or not given
  double* lossSum = nullptr;  // += the sum over the counted rows
};

/// Labels and a teacher's opinion at once (Hinton et al. 2015, arXiv 1503.02531, Section 2): of
/// each row that counts, with T the temperature and w the teacher's weight,
///   (1 - w) * crossEntropy(logits, label)
///     + w * T^2 * KL(softmax(teacherLogits / T) || softmax(logits / T)).
/// T^2 keeps the gradient of the second term as large as that of the first. With w = 0 gradLogits
/// and lossSum are those of CrossEntropy, bit for bit.
struct DistilledCrossEntropy {
  ConstTensorView logits;                // [rows, vocab] float32
  ConstTensorView teacherLogits;         // [rows, vocab] float32
  std::span<const std::int32_t> labels;  // [rows], in [0, vocab) or kIgnoredLabel
  float teacherWeight = 0.5f;            // in [0, 1]
  float temperature = 1.0f;              // > 0
  float gradScale = 0.0f;                // multiplies the gradient of the sum above
  TensorView gradLogits;                 // [rows, vocab] float32 (may be logits) | bfloat16
  double* lossSum = nullptr;             // += the cross-entropy of the counted rows
  double* distillationSum = nullptr;     // += T^2 * KL of the counted rows
};

// ---------------------------------------------------------------------------- optimisers

/// AdamW as PyTorch's: decoupled decay first, bias-corrected moments, epsilon outside the root.
struct AdamW {
  struct Parameter {
    TensorView value;         // any shape, float32
    ConstTensorView grad;     // same
    TensorView firstMoment;   // same
    TensorView secondMoment;  // same
    float weightDecay = 0.0f;
  };
  std::span<const Parameter> parameters;
  float learningRate = 0.0f;
  float beta1 = 0.9f;
  float beta2 = 0.999f;
  float epsilon = 1e-8f;
  float gradScale = 1.0f;  // multiplies every gradient: clipping
  std::int64_t step = 1;   // counts from 1
};

/// Adafactor (Shazeer & Stern 2018, algorithms 4 and 5) without first moment or relative step: as
/// T5 is usually fine-tuned. decay_t = 1 - step^decayRate; update clipped to RMS <= clipThreshold.
struct Adafactor {
  struct Parameter {
    TensorView value;         // [rows, columns] float32; vectors as [1, n]
    ConstTensorView grad;     // same
    TensorView rowMoment;     // [rows] float32; not given for an unfactored parameter
    TensorView columnMoment;  // [columns] float32; not given for an unfactored parameter
    TensorView moment;        // [rows, columns] float32; given iff unfactored
    float weightDecay = 0.0f;
  };
  std::span<const Parameter> parameters;
  float learningRate = 0.0f;
  bool scaleByParameter = false;  // learning rate *= max(parameterEpsilon, RMS(value))
  float decayRate = -0.8f;
  float gradEpsilon = 1e-30f;
  float parameterEpsilon = 1e-3f;
  float clipThreshold = 1.0f;
  float gradScale = 1.0f;
  std::int64_t step = 1;  // counts from 1
};

// ---------------------------------------------------------------------------- backend

/// What a model asks of a backend when it is loaded.
struct ComputeNeeds {
  DType dtype = DType::float32;
  std::int64_t headDim = 64;
  bool matmul = false;                    // Matmul in this type, too, as training needs it
  DType attentionInput = DType::float32;  // what q, k and v are; a backend's own choice, or float32
  DType cache = DType::float32;           // what keys and values are in a paged cache
};

/// Where a backend's time went since the last reset.
struct OpTimes {
  double denseSeconds = 0.0;      // Linear and Matmul
  double attentionSeconds = 0.0;  // prefill, backward and decode
  std::int64_t weightBytes = 0;   // bytes of packed weights that Linear read
};

/// One backend instance. It owns scratch memory that is reused from call to call, so an instance is
/// used by one thread at a time; operations use the calling thread's parallel team.
class Ops {
 public:
  virtual ~Ops() = default;
  virtual std::string_view name() const = 0;
  /// An instance of the same backend on the same device, for another thread. Any thread may ask.
  virtual std::unique_ptr<Ops> makeAnother() const = 0;
  /// Nothing if the backend can run such a model, else the reason, for people.
  virtual std::optional<std::string> whyUnsupported(const ComputeNeeds& needs) const = 0;

  /// Where the tensors of every operation lie; spans and scalars lie on the host.
  virtual Memory& memory() = 0;
  // Copies, in the order of the operations around them. Views are dense and of equal type and
  // element count; `host` lies on the host.
  /// `host` need not outlive the call.
  virtual void upload(const void* host, const TensorView& to) = 0;
  /// Returns once `host` holds the values: what was asked for before is done then.
  virtual void download(const ConstTensorView& from, void* host) = 0;
  virtual void copy(const ConstTensorView& from, const TensorView& to) = 0;
  virtual void zero(const TensorView& view) = 0;
  /// Returns once all that was asked for is done. Throws what an operation failed with meanwhile.
  virtual void finish() = 0;
  /// Between the two, operations are those of a step like many before it, which a backend may
  /// collect and run at once; none of them gives the host a value.
  virtual void beginStep() {}
  virtual void endStep() {}
  /// Instead of endStep() where something failed: what was collected is forgotten.
  virtual void abandonStep() noexcept {}
  /// Rows of a dense product from which on more at once are no faster, each: how far work that can
  /// be divided should be.
  virtual std::int64_t saturatingRows() const { return 512; }
  /// What queries, keys and values are in a model that computes in `compute`.
  virtual DType attentionInput(DType /*compute*/) const { return DType::float32; }

  virtual void embedding(const Embedding& p) = 0;
  virtual void embeddingBackward(const EmbeddingBackward& p) = 0;
  virtual void rmsNorm(const RmsNorm& p) = 0;
  virtual void rmsNormBackward(const RmsNormBackward& p) = 0;
  /// Packs a [outFeatures, inFeatures] weight (float32 | float16 | bfloat16) for products in
  /// `dtype` (float32 | float16 | bfloat16 | int8); `weight` need not outlive the call.
  virtual std::unique_ptr<PackedWeight> pack(const ConstTensorView& weight, DType dtype) = 0;
  /// Products of the same rows: one x, weights of one dtype, outputs that do not overlap. One after
  /// the other would wait for all threads in between.
  virtual void linear(std::span<const Linear> products) = 0;
  void linear(const Linear& p) { linear({&p, 1}); }
  virtual void matmul(const Matmul& p) = 0;
  virtual void dropout(const Dropout& p) = 0;
  virtual void gatedActivation(const GatedActivation& p) = 0;
  virtual void gatedActivationBackward(const GatedActivationBackward& p) = 0;
  virtual void cast(const Cast& p) = 0;
  virtual void attentionPrefill(const AttentionPrefill& p) = 0;
  virtual void attentionPrefillBackward(const AttentionPrefillBackward& p) = 0;
  virtual void attentionDecode(const AttentionDecode& p) = 0;
  virtual void kvAppend(const KvAppend& p) = 0;
  virtual void copyBlocks(const CopyBlocks& p) = 0;
  virtual void chooseTokens(const ChooseTokens& p) = 0;
  virtual void mergeHeads(const MergeHeads& p) = 0;
  virtual void mergeHeadsBackward(const MergeHeadsBackward& p) = 0;
  virtual void constrainMergeWeights(const ConstrainMergeWeights& p) = 0;
  virtual void constrainMergeWeightsBackward(const ConstrainMergeWeightsBackward& p) = 0;
  virtual void crossEntropy(const CrossEntropy& p) = 0;
  virtual void distilledCrossEntropy(const DistilledCrossEntropy& p) = 0;
  virtual void adamW(const AdamW& p) = 0;
  virtual void adafactor(const Adafactor& p) = 0;
  /// Sum of squares of float32 tensors in double; the same for any number of threads.
  virtual double squaredNorm(std::span<const ConstTensorView> tensors) = 0;

  virtual OpTimes times() const = 0;
  virtual void resetTimes() = 0;
};

/// The types of `field`, `needs` as they are else, that the backend supports, as an error lists
/// them:
/// "'float32' | 'bfloat16'".
std::string supportedTypes(const Ops& ops, ComputeNeeds needs, DType ComputeNeeds::*field);

/// Plain loops with double accumulation: the truth that the others are tested against.
std::unique_ptr<Ops> makeReferenceOps();

/// oneDNN for dense products, Highway kernels with run-time dispatch for the rest.
std::unique_ptr<Ops> makeCpuOps();

}  // namespace wgqa
