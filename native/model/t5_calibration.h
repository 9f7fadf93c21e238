// What the inputs of a model's attention look like on given text: their means and second moments,
// which conversion can weigh heads by.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "merge/head_gram.h"
#include "model/t5_teacher_forced.h"

namespace wgqa {

struct InputMoments {
  Matrix secondMoment;   // [dModel, dModel] E[x x^T]
  Eigen::VectorXd mean;  // [dModel]

  /// Of what differs from token to token. Softmax ignores what all keys have in common.
  Matrix covariance() const;
};

class T5Calibration {
 public:
  explicit T5Calibration(T5Config config) : config_(std::move(config)) {}

  /// The configuration of the model that it was taken from.
  const T5Config& config() const { return config_; }
  /// Inputs of Q, and of K and V, which in self-attention are the same.
  const InputMoments& queryInputs(AttentionModule module, std::int64_t layer) const;
  const InputMoments& keyInputs(AttentionModule module, std::int64_t layer) const;

 private:
  friend T5Calibration calibrate(T5Model&, std::span<const TeacherForcedBatch>, const AbortFlag*);

  T5Config config_;
  std::vector<InputMoments> inputs_[kAttentionModules];  // [layers] of Q, in self-attention of all
  InputMoments encoderStates_;
};

/// Runs the model over the batches. Throws ErrorCode::invalidArgument (field "calibration") if
/// there are none, ErrorCode::nonFinite, and ErrorCode::aborted between layers.
T5Calibration calibrate(T5Model& model, std::span<const TeacherForcedBatch> batches,
                        const AbortFlag* abort);

}  // namespace wgqa
