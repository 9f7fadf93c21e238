#include "training_problem.h"

#include <utility>

namespace wgqa::bench {
namespace {

// y = x W^T, dX = dY W and dW = dY^T X of `count` weights.
void addWeight(std::vector<TrainingProduct>& products, std::int64_t rows, std::int64_t in,
               std::int64_t out, std::int64_t count) {
  products.push_back({rows, in, out, count});
  products.push_back({rows, out, in, count});
  products.push_back({out, rows, in, count});
}

TrainerOptions optionsOf(const TrainingOptions& training) {
  TrainerOptions options;
  options.dropoutRate = 0.1f;
  options.weightDecay = 0.01f;
  options.training = training;
  return options;
}

}  // namespace

T5Config t5Config(std::int64_t layers, std::int64_t heads, std::int64_t dModel, std::int64_t dFf) {
  T5Config config;
  config.vocabSize = 32128;
  config.dModel = dModel;
  config.dKv = 64;
  config.dFf = dFf;
  config.encoderLayers = layers;
  config.decoderLayers = layers;
  config.heads = heads;
  for (ModuleHeads& module : config.modules) module.kvHeads = heads;
  return config;
}

std::vector<TrainingProduct> productsOfStep(const TrainingShape& shape) {
  const T5Config& config = shape.config;
  const std::int64_t source = shape.sequences * shape.sourceTokens;
  const std::int64_t target = shape.sequences * shape.targetTokens;
  const std::int64_t inner = config.innerDim();
  std::vector<TrainingProduct> products;
  // Encoder: q, k, v, o and the feed-forward layer; decoder: the same, q and o of cross-attention
  // over targets, its k and v over sources; the vocabulary.
  addWeight(products, source, config.dModel, inner, 4 * config.encoderLayers);
  addWeight(products, source, config.dModel, config.dFf, config.encoderLayers);
  addWeight(products, source, config.dFf, config.dModel, config.encoderLayers);
  addWeight(products, target, config.dModel, inner, 6 * config.decoderLayers);
  addWeight(products, source, config.dModel, inner, 2 * config.decoderLayers);
  addWeight(products, target, config.dModel, config.dFf, config.decoderLayers);
  addWeight(products, target, config.dFf, config.dModel, config.decoderLayers);
  addWeight(products, target, config.dModel, config.vocabSize, 1);
  return products;
}

double flopsOf(const std::vector<TrainingProduct>& products) {
  double flops = 0.0;
  for (const TrainingProduct& product : products) flops += product.flops();
  return flops;
}

TrainingProblem::TrainingProblem(const TrainingShape& shape, std::unique_ptr<Ops> ops,
                                 const TrainingOptions& training)
    : model_(shape.config, initialT5Parameters(shape.config, 1), std::move(ops), DType::float32),
      trainer_(model_, optionsOf(training)) {
  for (std::int64_t row = 0; row < shape.sequences; ++row) {
    addRow(row, shape.sourceTokens, source_, sourceOffsets_);
    addRow(row, shape.targetTokens, target_, targetOffsets_);
  }
  labels_.assign(target_.begin() + 1, target_.end());
  labels_.push_back(1);
}

void TrainingProblem::run() {
  const TeacherForcedBatch batch{source_, {sourceOffsets_}, target_, {targetOffsets_}, labels_};
  trainer_.step({&batch, 1}, 1e-4f, nullptr);
}

// Ids spread over the vocabulary, the end token left out.
void TrainingProblem::addRow(std::int64_t row, std::int64_t length, std::vector<std::int32_t>& ids,
                             std::vector<std::int32_t>& offsets) const {
  const std::int64_t vocab = model_.config().vocabSize;
  for (std::int64_t i = 0; i < length; ++i) {
    ids.push_back(static_cast<std::int32_t>(2 + (7919 * row + 104729 * i) % (vocab - 2)));
  }
  offsets.push_back(static_cast<std::int32_t>(ids.size()));
}

}  // namespace wgqa::bench
