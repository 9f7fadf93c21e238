#include "model_fixture.h"

#include <algorithm>
#include <cmath>

#include "model/t5_inference.h"

namespace wgqa::test {

T5Config smallConfig(bool gated) {
  T5Config config;
  config.vocabSize = 53;
  config.dModel = 24;
  config.dKv = 8;
  config.dFf = 40;
  config.encoderLayers = 3;
  config.decoderLayers = 2;
  config.heads = 4;
  for (ModuleHeads& module : config.modules) module = {config.heads, false};
  config.relativeBuckets = 8;
  config.relativeMaxDistance = 16;
  config.activation = gated ? Activation::geluTanh : Activation::relu;
  config.gated = gated;
  config.tiedEmbeddings = !gated;
  config.scaleDecoderOutputs = !gated;
  config.eosTokenIds = {1};
  return config;
}

std::unique_ptr<T5Model> smallModel(bool gated, std::unique_ptr<Ops> ops, DType dtype) {
  const T5Config config = smallConfig(gated);
  return std::make_unique<T5Model>(config, initialT5Parameters(config, 7), std::move(ops), dtype);
}

ConvertOptions conversionTo(std::int64_t kvHeads) {
  ConvertOptions options;
  options.kvHeads = kvHeads;
  options.modules.assign(std::begin(kAllModules), std::end(kAllModules));
  return options;
}

ConvertOptions weighted(MergeGranularity granularity) {
  ConvertOptions options = conversionTo(2);
  options.granularity = granularity;
  options.init = MergeInit::random;
  return options;
}

SmallBatch::SmallBatch() : encoderOffsets{0}, decoderOffsets{0} {
  std::int32_t id = 2;
  const auto next = [&id] { return id = (id * 7 + 5) % 53; };
  for (const int length : {9, 1, 6}) {
    for (int i = 0; i < length; ++i) encoderIds.push_back(next());
    encoderOffsets.push_back(static_cast<std::int32_t>(encoderIds.size()));
  }
  for (const int length : {5, 3, 1}) {
    for (int i = 0; i < length; ++i) {
      decoderIds.push_back(i == 0 ? 0 : labels.back());
      labels.push_back(next());
    }
    decoderOffsets.push_back(static_cast<std::int32_t>(decoderIds.size()));
  }
  labels[7] = kIgnoredLabel;
}

TeacherForcedBatch SmallBatch::view() const {
  return {encoderIds, {encoderOffsets}, decoderIds, {decoderOffsets}, labels};
}

std::vector<float> logitsOf(T5Model& model, const SmallBatch& batch) {
  const auto tokens = static_cast<std::int64_t>(batch.decoderIds.size());
  std::vector<float> logits(static_cast<std::size_t>(tokens * model.config().vocabSize));
  const TensorView view(logits.data(), DType::float32, {tokens, model.config().vocabSize});
  model.inference().teacherForced(batch.view(), view, {}, nullptr);
  return logits;
}

std::vector<float> allParameters(T5Model& model) {
  std::vector<float> values;
  for (const auto& parameter : model.parameters().all()) {
    const std::size_t begin = values.size();
    values.resize(begin + static_cast<std::size_t>(parameter->elements()));
    parameter->copyTo(model.ops(), DType::float32, values.data() + begin);
  }
  return values;
}

double relativeError(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0.0;
  double largest = 0.0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    difference = std::max(difference, std::abs(static_cast<double>(a[i]) - b[i]));
    largest = std::max(largest, std::abs(static_cast<double>(b[i])));
  }
  return a.size() == b.size() && largest > 0.0 ? difference / largest : INFINITY;
}

}  // namespace wgqa::test
