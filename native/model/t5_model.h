// A T5 model: configuration, parameters, and the backend that computes with them.
#pragma once

#include <atomic>
#include <memory>

#include "model/decode_step.h"
#include "model/parameters.h"
#include "model/t5_config.h"
#include "model/t5_parameters.h"
#include "ops/ops.h"

namespace wgqa {

class T5Inference;

/// Set by another thread; long work reads it between layers and steps.
using AbortFlag = std::atomic<bool>;

/// Throws ErrorCode::aborted if the flag is given and set.
inline void throwIfAborted(const AbortFlag* abort) {
  if (abort != nullptr && abort->load(std::memory_order_relaxed)) {
    throw Error(ErrorCode::aborted, "the operation was aborted");
  }
}

/// Used by one thread at a time.
class T5Model {
 public:
  /// Throws if the parameters do not fit the configuration or the backend declines the model.
  T5Model(T5Config config, ParameterSet parameters, std::unique_ptr<Ops> ops, DType computeDtype);
  ~T5Model();
  T5Model(const T5Model&) = delete;
  T5Model& operator=(const T5Model&) = delete;

  const T5Config& config() const { return config_; }
  const ParameterSet& parameters() const { return parameters_; }
  const T5Parameters& bound() const { return bound_; }
  Ops& ops() { return *ops_; }
  DType computeDtype() const { return computeDtype_; }
  std::span<const std::int32_t> kvHeadOf(AttentionModule module) const {
    return kvHeadOf_[static_cast<int>(module)];
  }

  /// Writable float32 memory of a parameter; drops the packed weights, which no longer match.
  TensorView writable(Parameter& parameter);
  /// Must be called after values were changed through an earlier writable().
  void parametersChanged();
  Parameter& parameter(std::string_view name) { return parameters_.at(name); }

  /// Packed weights and scratch for inference, made on first use.
  T5Inference& inference();
  /// The model as the decode engine sees it: always with the parameters' current values.
  EncoderDecoder& encoderDecoder() { return *encoderDecoder_; }
  std::int64_t packedBytes() const;

 private:
  T5Config config_;
  ParameterSet parameters_;
  T5Parameters bound_;
  std::vector<std::int32_t> kvHeadOf_[kAttentionModules];
  std::unique_ptr<Ops> ops_;
  DType computeDtype_;
  std::unique_ptr<T5Inference> inference_;
  std::unique_ptr<EncoderDecoder> encoderDecoder_;
};

/// The merged [kvHeads * dKv, dModel] matrix of a projection with merge weights, in float32.
void mergeProjection(T5Model& model, AttentionModule module, const Parameter& base,
                     const Parameter& mergeWeight, const TensorView& merged);

}  // namespace wgqa
