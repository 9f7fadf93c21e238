// One optimiser step at a time: gradients over micro-batches, clipping, update.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/t5_training.h"
#include "train/update_bound.h"

namespace wgqa {

struct AdamWOptions {
  float beta1 = 0.9f;
  float beta2 = 0.999f;
  float epsilon = 1e-8f;
};

struct AdafactorOptions {
  float decayRate = -0.8f;
  float gradEpsilon = 1e-30f;
  float parameterEpsilon = 1e-3f;
  float clipThreshold = 1.0f;
  bool scaleParameter = false;
};

enum class OptimizerType : std::uint8_t { adamW, adafactor };

struct TrainerOptions {
  OptimizerType optimizer = OptimizerType::adamW;
  AdamWOptions adamW;
  AdafactorOptions adafactor;
  float weightDecay = 0.0f;
  bool decayMergeWeights = false;
  float maxGradNorm = 0.0f;  // 0: no clipping
  float dropoutRate = 0.0f;
  std::uint64_t seed = 0;
  TrainingOptions training;
};

struct StepResult {
  double loss = 0.0;  // mean cross-entropy per counted label
  /// With a teacher: mean of temperature^2 * KL(teacher || student) per counted label.
  std::optional<double> distillationLoss;
  double gradNorm = 0.0;  // before clipping
  std::int64_t tokens = 0;
  double seconds = 0.0;
  double denseSeconds = 0.0;
  double attentionSeconds = 0.0;
  std::int64_t scratchBytes = 0;  // activations and scratch of the largest micro-batch, at its peak
};

/// Optimiser state of one parameter: the tensors that a checkpoint holds.
struct OptimizerState {
  std::string name;  // "<parameter>.firstMoment", ".secondMoment", ".rowMoment", ...
  std::vector<std::int64_t> shape;
  TensorView value;  // float32, where the model's backend computes
};

/// Updates parameters of one model; used by the model's thread.
class Trainer {
 public:
  Trainer(T5Model& model, const TrainerOptions& options);

  /// Gradient of the mean loss over all micro-batches, then one update. On any error, abort or
  /// non-finite value included, parameters and optimiser state are as before the call.
  StepResult step(std::span<const TeacherForcedBatch> microBatches, float learningRate,
                  const AbortFlag* abort);

  /// The gradients alone, without dropout; valid until the next call. They lie where the model's
  /// backend computes.
  std::span<const T5Training::Gradient> gradients(std::span<const TeacherForcedBatch> microBatches,
                                                  const AbortFlag* abort);

  std::span<const OptimizerState> states() const { return states_; }
  /// After values of states() were written.
  void statesWritten() { bound_.forget(); }
  std::int64_t stepCount() const { return stepCount_; }
  void setStepCount(std::int64_t steps) { stepCount_ = steps; }

 private:
  struct ParameterStates {
    TensorView first, second;  // AdamW: moments; Adafactor: row and column moment, or moment, none
  };
  void allocateStates();
  TensorView addState(const std::string& name, std::vector<std::int64_t> shape);
  struct GradientResult {
    double loss = 0.0;
    std::optional<double> distillationLoss;
    std::int64_t scratchBytes = 0;
  };
  GradientResult computeGradients(std::span<const TeacherForcedBatch> microBatches,
                                  float dropoutRate, const AbortFlag* abort);
  UpdateBound::Norms norms();
  double largestChange(double moment, double parameter) const;
  void requireFiniteUpdate(float learningRate, double gradNorm);
  void update(float learningRate, float gradScale);
  void updateAdamW(float learningRate, float gradScale);
  void updateAdafactor(float learningRate, float gradScale);
  float decayOf(const Parameter& parameter) const;

  T5Model& model_;
  TrainerOptions options_;
  T5Training training_;
  Arena stateArena_;
  std::vector<OptimizerState> states_;
  std::vector<ParameterStates> ofParameter_;  // in the order of training_.gradients()
  UpdateBound bound_;
  std::int64_t stepCount_ = 0;
};

}  // namespace wgqa
