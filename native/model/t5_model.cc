#include "model/t5_model.h"

#include "merge/head_groups.h"
#include "model/t5_inference.h"
#include "model/t5_weights.h"

namespace wgqa {

T5Model::T5Model(T5Config config, ParameterSet parameters, std::unique_ptr<Ops> ops,
                 DType computeDtype)
    : config_(std::move(config)),
      parameters_(std::move(parameters)),
      ops_(std::move(ops)),
      computeDtype_(computeDtype) {
  if (const auto reason = ops_->whyUnsupported({computeDtype, config_.dKv})) {
    throw Error(ErrorCode::unsupported, *reason, "dtype");
  }
  checkT5Parameters(config_, parameters_);
  bound_ = bindT5Parameters(config_, parameters_);
  for (int module = 0; module < kAttentionModules; ++module) {
    kvHeadOf_[module] = neighbouringGroups(config_.heads, config_.modules[module].kvHeads);
  }
}

T5Model::~T5Model() = default;

T5Model::ParameterUpdate::ParameterUpdate(T5Model& model)
    : model_(model), lock_(model.parametersMutex_) {
  const std::lock_guard guard(model_.weightsMutex_);
  model_.inference_.reset();
  model_.weights_.reset();
}

T5Model::ParameterUpdate::~ParameterUpdate() { ++model_.weightsVersion_; }

T5Model::CurrentWeights::CurrentWeights(T5Model& model, Ops& packer)
    : lock_(model.parametersMutex_) {
  const std::lock_guard guard(model.weightsMutex_);
  if (!model.weights_) model.weights_ = std::make_shared<const T5Weights>(model, packer);
  weights_ = model.weights_;
}

T5Inference& T5Model::inference() {
  if (!inference_) inference_ = std::make_unique<T5Inference>(*this, ops_);
  return *inference_;
}

void T5Model::releaseInference() { inference_.reset(); }

std::unique_ptr<EncoderDecoder> T5Model::makeEncoderDecoder(std::unique_ptr<Ops> ops) {
  return std::make_unique<T5Inference>(*this, std::move(ops));
}

std::int64_t T5Model::packedBytes() const {
  const std::lock_guard guard(weightsMutex_);
  return (weights_ ? weights_->bytes() : 0) + (inference_ ? inference_->scratchBytes() : 0);
}

void mergeProjection(const T5Model& model, Ops& ops, AttentionModule module, const Parameter& base,
                     const Parameter& mergeWeight, const TensorView& merged) {
  const T5Config& config = model.config();
  const std::int64_t kvHeads = config.module(module).kvHeads;
  MergeHeads merge;
  merge.granularity = config.granularity;
  Buffer baseCopy;
  Buffer weightCopy;
  // Merging is float32 arithmetic: half-precision checkpoints are widened first.
  merge.base = rowsAsHeads(base.asFloat32(ops, baseCopy), config.heads);
  merge.weight = mergeWeight.asFloat32(ops, weightCopy);
  merge.kvHeadOf = model.kvHeadOf(module);
  merge.merged = {merged.data, merged.dtype, {kvHeads, config.dKv, config.dModel}};
  ops.mergeHeads(merge);
}

}  // namespace wgqa
