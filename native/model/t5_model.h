// A T5 model: configuration, parameters, and the backend that computes with them.
//
// One thread at a time uses the model itself: reads and writes parameters, trains, runs
// inference(). Decode engines on threads of their own share its weights through
// makeEncoderDecoder(), and trainers of the models that it teaches through T5Teacher. Two rules
// keep them apart: whoever computes with packed weights holds CurrentWeights meanwhile, and whoever
// writes or frees memory of parameters holds a ParameterUpdate.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <shared_mutex>

#include "base/abort_flag.h"
#include "base/fair_shared_mutex.h"
#include "model/decode_step.h"
#include "model/parameters.h"
#include "model/t5_config.h"
#include "model/t5_parameters.h"
#include "ops/ops.h"

namespace wgqa {

class T5Inference;
class T5Weights;

/// Used by one thread at a time, but for what says otherwise.
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
  /// [heads] the K/V head that each query head reads.
  std::span<const std::int32_t> kvHeadOf(AttentionModule module, std::int64_t layer) const {
    return kvHeadOf_[static_cast<int>(module)][static_cast<std::size_t>(layer)];
  }
  /// [heads] 0, 1, 2, ...: a group for each head.
  std::span<const std::int32_t> everyHead() const { return everyHead_; }
  Parameter& parameter(std::string_view name) { return parameters_.at(name); }

  /// Exclusive use of the parameters' memory, for as long as it lives. It waits for the calls of
  /// encoder-decoders that are under way, and they for it, in the order of coming. Packed weights
  /// and what inference() returned are gone from its start, and weightsVersion() is another from
  /// its end. The holding thread must not use inference() or CurrentWeights meanwhile.
  class ParameterUpdate {
   public:
    explicit ParameterUpdate(T5Model& model);
    ~ParameterUpdate();
    ParameterUpdate(const ParameterUpdate&) = delete;
    ParameterUpdate& operator=(const ParameterUpdate&) = delete;

    /// float32 memory of a parameter where the backend computes, which this model alone uses, with
    /// its current values. It may be written whenever a ParameterUpdate lives, until the parameter
    /// is shared or freed.
    TensorView writable(Parameter& parameter) const { return parameter.makeWritable(model_.ops()); }

   private:
    T5Model& model_;
    std::unique_lock<FairSharedMutex> lock_;
  };

  /// The packed weights with the parameters' values, which do not change while it lives. Any thread
  /// may hold one, but not twice: an update in line between the two would wait for itself.
  class CurrentWeights {
   public:
    /// Packs with `packer`, an instance of the model's backend, if nobody has done it yet.
    CurrentWeights(T5Model& model, Ops& packer);
    CurrentWeights(const CurrentWeights&) = delete;
    CurrentWeights& operator=(const CurrentWeights&) = delete;

    const T5Weights& operator*() const { return *weights_; }
    const T5Weights* operator->() const { return weights_.get(); }

   private:
    std::shared_lock<FairSharedMutex> lock_;
    std::shared_ptr<const T5Weights> weights_;  // last: goes before the lock does
  };

  /// Any thread: changes when parameters do.
  std::uint64_t weightsVersion() const { return weightsVersion_.load(); }

  /// Inference on the model's own thread, made on first use; valid until the next update.
  T5Inference& inference();
  /// Frees inference()'s scratch memory.
  void releaseInference();
  /// Any thread: the model as a decode engine sees it, always with the parameters' current values.
  /// `ops` is an instance of the model's backend for it alone. The result is used by one thread at
  /// a time, and the model must outlive it.
  std::unique_ptr<EncoderDecoder> makeEncoderDecoder(std::unique_ptr<Ops> ops);

  /// Bytes of packed weights and of inference()'s scratch.
  std::int64_t packedBytes() const;

 private:
  T5Config config_;
  ParameterSet parameters_;
  T5Parameters bound_;
  std::vector<std::vector<std::int32_t>> kvHeadOf_[kAttentionModules];
  std::vector<std::int32_t> everyHead_;
  std::shared_ptr<Ops> ops_;
  DType computeDtype_;
  FairSharedMutex parametersMutex_;
  std::atomic<std::uint64_t> weightsVersion_ = 0;
  mutable std::mutex weightsMutex_;  // of weights_: readers of the parameters may make them
  std::shared_ptr<const T5Weights> weights_;
  std::unique_ptr<T5Inference> inference_;
};

}  // namespace wgqa
