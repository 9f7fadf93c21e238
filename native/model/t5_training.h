// T5 with gradients, in float32: one forward pass that keeps what the backward pass needs on a
// tape, and the backward pass that consumes it.
#pragma once

#include <memory>
#include <vector>

#include "model/arena.h"
#include "model/t5_inference.h"
#include "model/t5_model.h"

namespace wgqa {

/// Which parameters receive gradients.
enum class Trainable : std::uint8_t {
  all,
  merge,  // merge weights alone: the base model stays frozen
};

/// Where the dropout masks of a pass come from: every use takes the next stream of the seed.
class DropoutPlan {
 public:
  DropoutPlan(float rate, std::uint64_t seed, std::uint64_t firstStream)
      : rate_(rate), seed_(seed), stream_(firstStream) {}
  DropoutSpec next() { return {rate_, RandomField{seed_, stream_++}}; }

 private:
  float rate_;
  std::uint64_t seed_;
  std::uint64_t stream_;
};

class T5Training {
 public:
  struct Gradient {
    Parameter* parameter = nullptr;
    TensorView value;  // the parameter's writable memory, valid until the step ends
    TensorView grad;   // same shape, float32
  };

  /// Throws ErrorCode::invalidArgument (field "trainable") if nothing would be trained.
  T5Training(T5Model& model, Trainable trainable);
  ~T5Training();

  /// Zeroes the gradients and merges the projections with their current weights.
  void begin();
  /// Forward and backward of one micro-batch: adds the gradient of gradScale * (sum of the losses).
  /// Throws ErrorCode::aborted between layers; the gradients are then incomplete.
  TeacherForcedResult accumulate(const TeacherForcedBatch& batch, float gradScale,
                                 DropoutPlan dropout, const AbortFlag* abort);
  /// Carries the gradients of merged projections back to their heads and merge weights.
  void finish();

  std::span<const Gradient> gradients() const { return gradients_; }
  std::int64_t bytes() const;

 private:
  // A weight as a pass uses it: its values and, unless frozen, where its gradient goes.
  struct Weight {
    ConstTensorView value;
    TensorView grad;
  };
  struct AttentionWeights {
    Weight norm, q, k, v, o;
    std::span<const std::int32_t> kvHeadOf;
    std::int64_t kvHeads = 0;
  };
  struct FeedForwardWeights {
    Weight norm, gate, linear, out;
  };
  struct BlockWeights {
    AttentionWeights self, cross;
    FeedForwardWeights feedForward;
  };
  struct StackWeights {
    std::vector<BlockWeights> blocks;
    Weight relativeBias, finalNorm;
  };
  // A projection with merge weights: the merged matrix of this step and its gradient.
  struct MergedProjection {
    AttentionModule module;
    Parameter* base = nullptr;
    Parameter* mergeWeight = nullptr;
    TensorView merged;
    TensorView gradMerged;
  };

  struct NormTape {
    ConstTensorView x, inverseRms, out;
  };
  struct AttentionTape {
    NormTape norm;
    ConstTensorView keyInput;  // the normed input, or the encoder states
    AttentionShape shape;
    ConstTensorView q, k, v, out, logSumExp;
    DropoutSpec output;
  };
  struct FeedForwardTape {
    NormTape norm;
    ConstTensorView gate, linear, activated;
    DropoutSpec inner, output;
  };
  struct BlockTape {
    AttentionTape self, cross;
    FeedForwardTape feedForward;
  };
  struct StackTape {
    DropoutSpec input, output;
    std::vector<BlockTape> blocks;
    NormTape finalNorm;
    ConstTensorView states;  // after the final norm and its dropout
  };

  // t5_training.cc: weights and gradients
  void allocateGradients();
  void makeParametersWritable();
  Weight bind(Parameter* parameter);
  Weight bindMerged(AttentionModule module, Parameter* base, Parameter* mergeWeight);
  AttentionWeights bindAttention(AttentionModule module, const AttentionParameters& parameters);
  StackWeights bindStack(bool decoder, const StackParameters& parameters);
  const TensorView* gradientOf(const Parameter* parameter) const;
  MergeHeadsBackward mergeBackward(const MergedProjection& projection) const;

  // t5_training_forward.cc
  NormTape normalise(const Weight& norm, const ConstTensorView& x);
  TensorView project(const Weight& weight, const ConstTensorView& x);
  TensorView attentionForward(const AttentionWeights& weights, AttentionTape& tape,
                              const ConstTensorView& hidden, DropoutPlan& dropout);
  TensorView feedForwardForward(const FeedForwardWeights& weights, FeedForwardTape& tape,
                                const ConstTensorView& hidden, DropoutPlan& dropout);
  void stackForward(const StackWeights& weights, std::span<const std::int32_t> ids,
                    const AttentionShape& self, const AttentionShape& cross,
                    const ConstTensorView& encoderStates, DropoutPlan& dropout, StackTape& tape,
                    const AbortFlag* abort);
  TeacherForcedResult headForwardBackward(const TeacherForcedBatch& batch, float gradScale,
                                          const TensorView& gradStates, const AbortFlag* abort);

  // t5_training_backward.cc
  void normBackward(const Weight& norm, const NormTape& tape, const ConstTensorView& gradOut,
                    const TensorView& gradX);
  void projectBackward(const Weight& weight, const ConstTensorView& x,
                       const ConstTensorView& gradOut, const TensorView& gradX, float beta);
  ConstTensorView undropped(const ConstTensorView& grad, const DropoutSpec& dropout);
  void attentionBackward(const AttentionWeights& weights, const AttentionTape& tape,
                         const TensorView& gradHidden, const TensorView& gradEncoderStates,
                         const TensorView& gradBias);
  void feedForwardBackward(const FeedForwardWeights& weights, const FeedForwardTape& tape,
                           const TensorView& gradHidden);
  void stackBackward(const StackWeights& weights, std::span<const std::int32_t> ids,
                     const StackTape& tape, const TensorView& gradStates,
                     const TensorView& gradEncoderStates, const AbortFlag* abort);

  T5Model& model_;
  const T5Config& config_;
  Ops& ops_;
  Trainable trainable_;
  bool encoderNeedsGradient_ = false;
  Arena arena_;          // tape and scratch of a micro-batch
  Arena mergedArena_;    // merged projections of a step
  Arena gradientArena_;  // gradients, kept for the trainer's life
  std::vector<Gradient> gradients_;
  std::vector<MergedProjection> mergedProjections_;
  Weight embedding_, head_;
  StackWeights encoder_, decoder_;
  StackTape encoderTape_, decoderTape_;
};

}  // namespace wgqa
