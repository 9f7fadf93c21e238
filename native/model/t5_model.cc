#include "model/t5_model.h"

#include <string>

#include "merge/head_groups.h"
#include "model/t5_inference.h"

namespace wgqa {
namespace {

// Packed weights come and go as parameters change; the decode engine keeps one reference to this.
class CurrentInference final : public EncoderDecoder {
 public:
  explicit CurrentInference(T5Model& model) : model_(model) {}

  CacheShape cacheShape() const override { return model_.inference().cacheShape(); }
  std::int64_t vocabSize() const override { return model_.config().vocabSize; }
  std::int64_t stateSize() const override { return model_.config().dModel; }
  void encode(std::span<const std::int32_t> ids, const RaggedOffsets& offsets,
              const TensorView& states) override {
    model_.inference().encode(ids, offsets, states);
  }
  void appendCross(const CrossAppend& append) override { model_.inference().appendCross(append); }
  void decodeStep(const DecodeStep& step) override { model_.inference().decodeStep(step); }
  std::int64_t weightBytesRead() const override { return model_.inference().weightBytesRead(); }

 private:
  T5Model& model_;
};

}  // namespace

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
  encoderDecoder_ = std::make_unique<CurrentInference>(*this);
  for (int module = 0; module < kAttentionModules; ++module) {
    kvHeadOf_[module] = neighbouringGroups(config_.heads, config_.modules[module].kvHeads);
  }
}

T5Model::~T5Model() = default;

TensorView T5Model::writable(Parameter& parameter) {
  parametersChanged();
  return parameter.makeWritable();
}

void T5Model::parametersChanged() { inference_.reset(); }

T5Inference& T5Model::inference() {
  if (!inference_) inference_ = std::make_unique<T5Inference>(*this);
  return *inference_;
}

std::int64_t T5Model::packedBytes() const { return inference_ ? inference_->bytes() : 0; }

void mergeProjection(T5Model& model, AttentionModule module, const Parameter& base,
                     const Parameter& mergeWeight, const TensorView& merged) {
  const T5Config& config = model.config();
  const std::int64_t kvHeads = config.module(module).kvHeads;
  MergeHeads merge;
  merge.granularity = config.granularity;
  // Merging is float32 arithmetic: half-precision checkpoints are widened first.
  Parameter base32 = base;
  Parameter weight32 = mergeWeight;
  if (base32.dtype() != DType::float32) base32.makeWritable();
  if (weight32.dtype() != DType::float32) weight32.makeWritable();
  merge.base = rowsAsHeads(base32.view(), config.heads);
  merge.weight = weight32.view();
  merge.kvHeadOf = model.kvHeadOf(module);
  merge.merged = {merged.data, merged.dtype, {kvHeads, config.dKv, config.dModel}};
  model.ops().mergeHeads(merge);
}

}  // namespace wgqa
