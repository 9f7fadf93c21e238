// T5 with gradients: one forward pass that keeps what the backward pass needs on a tape, and the
// backward pass that consumes it.
//
// Parameters, their gradients, the residual stream, norms, attention and loss are float32. Dense
// products read operands of the compute type, each rounded once where it is made: weights at the
// start of a step, the rest by the operation whose result it is. They sum in float32.
#pragma once

#include <memory>
#include <vector>

#include "model/arena.h"
#include "model/t5_derived.h"
#include "model/t5_model.h"
#include "model/t5_teacher.h"

namespace wgqa {

/// Which parameters receive gradients.
enum class Trainable : std::uint8_t {
  all,
  merge,  // what the conversion added, alone: the base model stays frozen
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

struct TrainingOptions {
  Trainable trainable = Trainable::all;
  /// Of what dense products read: float32 | bfloat16.
  DType computeDtype = DType::float32;
  /// Keep the input of each block and run the block again before its backward pass, instead of
  /// keeping all that the pass needs (Chen et al. 2016, arXiv 1604.06174): the same gradients, bit
  /// for bit, for about a third more time in products, in the memory of one block.
  bool activationCheckpointing = false;
  DistillationOptions distillation = {};
};

/// Sums over the labels that count.
struct TrainingLoss {
  double crossEntropySum = 0.0;
  double distillationSum = 0.0;  // temperature^2 * KL(teacher || student); 0 without a teacher
};

class T5Training {
 public:
  struct Gradient {
    Parameter* parameter = nullptr;
    TensorView value;  // the parameter's writable memory, valid until the step ends
    TensorView grad;   // same shape, float32
  };

  /// Throws ErrorCode::invalidArgument (field "trainable") if nothing would be trained, or (field
  /// "distillation.teacher") if the teacher is none for this model, and ErrorCode::unsupported
  /// (field "computeDtype") if the backend cannot compute in that type. The teacher must outlive
  /// this object.
  T5Training(T5Model& model, const TrainingOptions& options);
  ~T5Training();

  /// Starts the gradients anew, merges the projections with their current weights and rounds what
  /// products read.
  void begin();
  /// Forward and backward of one micro-batch: adds the gradient of gradScale * (sum of the losses),
  /// with a teacher of (1 - weight) * crossEntropySum + weight * distillationSum.
  /// Throws ErrorCode::aborted between layers; the gradients are then incomplete.
  TrainingLoss accumulate(const TeacherForcedBatch& batch, float gradScale, DropoutPlan dropout,
                          const AbortFlag* abort);
  /// Carries the gradients of derived projections back to what they were computed from.
  void finish();

  std::span<const Gradient> gradients() const { return gradients_; }
  std::int64_t bytes() const;
  /// Activations and scratch of the latest micro-batch, the teacher's included: the most in use at
  /// once.
  std::int64_t peakScratchBytes() const;
  /// Of the model's backend and the teacher's.
  OpTimes times() const;

 private:
  // A weight as a pass uses it: its float32 values, what products read of them, and, unless frozen,
  // where its gradient goes.
  struct Weight {
    ConstTensorView value;
    ConstTensorView operand;
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
  // A projection that is computed from others: its matrix of this step and the gradient.
  struct StepProjection {
    DerivedProjection derived;
    ConstTensorView weight;  // as it is used: a constrained one is not the parameter itself
    TensorView gradWeight;   // not given without gradient
    TensorView matrix;
    TensorView gradMatrix;
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
  // What a stack's blocks have in common.
  struct BlockInputs {
    AttentionShape self, cross;
    ConstTensorView encoderStates;  // as an operand; not given in the encoder
  };
  // Where a block starts: enough to run it again.
  struct BlockStart {
    ConstTensorView hidden;
    DropoutPlan dropout;
  };
  struct StackTape {
    BlockInputs inputs;
    DropoutSpec input, output;
    std::vector<BlockStart> starts;
    std::vector<BlockTape> blocks;  // empty under activation checkpointing
    NormTape finalNorm;
    ConstTensorView states;  // after the final norm and its dropout, as an operand
  };

  // t5_training.cc: weights and gradients
  void allocateGradients();
  TensorView zeros(std::initializer_list<std::int64_t> shape);
  void makeParametersWritable();
  Weight bind(Parameter* parameter);
  Weight bindProduct(Parameter* parameter);
  ConstTensorView operandOf(const ConstTensorView& value);
  Weight bindProjection(const DerivedProjection& derived);
  void bindWeight(const DerivedProjection& derived, StepProjection& projection);
  AttentionWeights bindAttention(AttentionModule module, std::int64_t layer,
                                 const AttentionParameters& parameters);
  StackWeights bindStack(bool decoder, const StackParameters& parameters);
  const TensorView* gradientOf(const Parameter* parameter) const;
  void backward(const StepProjection& projection);

  // t5_training_forward.cc
  NormTape normalise(const Weight& norm, const ConstTensorView& x, DType dtype);
  TensorView project(const Weight& weight, const ConstTensorView& x, DType dtype);
  void addProjection(const Weight& weight, const ConstTensorView& x, const ConstTensorView& hidden,
                     const DropoutSpec& dropout, const TensorView& out);
  TensorView attentionForward(const AttentionWeights& weights, AttentionTape& tape,
                              const ConstTensorView& hidden, DropoutPlan& dropout);
  void activate(const FeedForwardWeights& weights, FeedForwardTape& tape,
                const ConstTensorView& hidden, DropoutPlan& dropout);
  ConstTensorView recordBlock(const BlockWeights& block, BlockTape& tape, const BlockInputs& inputs,
                              const ConstTensorView& hidden, DropoutPlan& dropout);
  TensorView blockForward(const BlockWeights& block, StackTape& tape, const ConstTensorView& hidden,
                          DropoutPlan& dropout);
  void stackForward(const StackWeights& weights, std::span<const std::int32_t> ids,
                    const BlockInputs& inputs, DropoutPlan& dropout, StackTape& tape,
                    const AbortFlag* abort);
  ConstTensorView lossBackward(const TensorView& logits, const ConstTensorView& teacherLogits,
                               std::span<const std::int32_t> labels, float gradScale,
                               TrainingLoss& sums);
  TrainingLoss headForwardBackward(const TeacherForcedBatch& batch, float gradScale,
                                   const TensorView& gradStates, const AbortFlag* abort);

  // t5_training_backward.cc
  void normBackward(const Weight& norm, const NormTape& tape, const ConstTensorView& gradOut,
                    const TensorView& gradX);
  void projectBackward(const Weight& weight, const ConstTensorView& x,
                       const ConstTensorView& gradOut, const TensorView& gradX, float beta);
  ConstTensorView undropped(const ConstTensorView& grad, const DropoutSpec& dropout, DType dtype);
  void attentionBackward(const AttentionWeights& weights, const AttentionTape& tape,
                         const TensorView& gradHidden, const TensorView& gradEncoderStates,
                         const TensorView& gradBias);
  void feedForwardBackward(const FeedForwardWeights& weights, const FeedForwardTape& tape,
                           const TensorView& gradHidden);
  void blockBackward(const BlockWeights& block, const BlockTape& tape, const TensorView& gradHidden,
                     const TensorView& gradEncoderStates, const TensorView& gradBias);
  void stackBackward(const StackWeights& weights, std::span<const std::int32_t> ids,
                     const StackTape& tape, const TensorView& gradStates,
                     const TensorView& gradEncoderStates, const AbortFlag* abort);

  T5Model& model_;
  const T5Config& config_;
  Ops& ops_;
  TrainingOptions options_;
  std::unique_ptr<T5Teacher> teacher_;  // or null
  bool encoderNeedsGradient_ = false;
  float gradBeta_ = 0.0f;  // 0 in a step's first micro-batch: its products overwrite gradients
  Arena arena_;            // tape and scratch of a micro-batch
  Arena weightArena_;      // of a step: derived projections, rounded weights
  Arena gradientArena_;    // gradients, kept for the trainer's life
  std::vector<Gradient> gradients_;
  std::vector<StepProjection> derivedProjections_;
  Weight embedding_, head_;
  StackWeights encoder_, decoder_;
  StackTape encoderTape_, decoderTape_;
};

}  // namespace wgqa
