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
  const ComputeNeeds needs{computeDtype, config_.dKv};
  if (const auto reason = ops_->whyUnsupported(needs)) {
    throw Error(ErrorCode::unsupported, *reason, "dtype",
                supportedTypes(*ops_, needs, &ComputeNeeds::dtype));
  }
  checkT5Heads(config_);
  checkT5Parameters(config_, parameters_);
  bound_ = bindT5Parameters(config_, parameters_);
  for (int index = 0; index < kAttentionModules; ++index) {
    const auto module = static_cast<AttentionModule>(index);
    for (std::int64_t layer = 0; layer < config_.layersOf(module); ++layer) {
      const std::int64_t kvHeads = config_.module(module).kvHeadsIn(layer);
      kvHeadOf_[index].push_back(neighbouringGroups(config_.heads, kvHeads));
    }
  }
  everyHead_ = neighbouringGroups(config_.heads, config_.heads);
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

}  // namespace wgqa
