#include "model/t5_inference.h"

#include <algorithm>
#include <utility>

#include "model/t5_encoding.h"

namespace wgqa {
namespace {

PagedKv pagedKv(const LayerCache& cache, const BlockTables& tables) {
  return {.keys = cache.keys,
          .values = cache.values,
          .keyScales = cache.keyScales,
          .valueScales = cache.valueScales,
          .blockTable = tables.blocks,
          .tableOffsets = tables.offsets,
          .lengths = tables.lengths};
}

// Lets the backend collect the operations of a step.
class StepScope {
 public:
  explicit StepScope(Ops& ops) : ops_(&ops) { ops.beginStep(); }
  ~StepScope() {
    if (ops_ != nullptr) ops_->abandonStep();
  }
  StepScope(const StepScope&) = delete;
  StepScope& operator=(const StepScope&) = delete;

  void end() { std::exchange(ops_, nullptr)->endStep(); }

 private:
  Ops* ops_;  // null once it has ended
};

// Rows of logits made at a time when only the loss is wanted: bounds memory for large vocabularies.
constexpr std::int64_t kLossRows = 256;

}  // namespace

T5Inference::T5Inference(T5Model& model, std::shared_ptr<Ops> ops)
    : model_(model),
      config_(model.config()),
      layers_(model.config(), model.computeDtype(), std::move(ops)) {}

// ---------------------------------------------------------------------------- teacher forcing

TeacherForcedResult T5Inference::teacherForced(const TeacherForcedBatch& batch,
                                               const TensorView& logits,
                                               const TensorView& encoderStates,
                                               const AbortFlag* abort) {
  Arena& arena = layers_.arena();
  arena.reset();
  const TensorView states = encoderStates.given()
                                ? resultIn(encoderStates)
                                : arena.floats({batch.encoder.tokens(), config_.dModel});
  const T5TeacherForcedPass pass(model_, layers_, batch, states, abort);
  if (encoderStates.given()) layers_.ops().download(states, encoderStates.data);

  TeacherForcedResult result;
  if (!batch.labels.empty()) result.lossSums.resize(batch.decoder.sequences());
  const std::int64_t rows = pass.rows();
  for (std::int64_t begin = 0; begin < rows; begin += kLossRows) {
    if (!logits.given() && batch.labels.empty()) break;
    throwIfAborted(abort);
    const ArenaScope scope(arena);
    const std::int64_t count = std::min(kLossRows, rows - begin);
    const TensorView chunk = logits.given() ? resultIn(logits.rows(begin, count))
                                            : arena.floats({count, config_.vocabSize});
    pass.logits(begin, chunk);
    if (logits.given()) layers_.ops().download(chunk, logits.rows(begin, count).data);
    if (!batch.labels.empty()) addLosses(batch, begin, chunk, result.lossSums);
  }
  return result;
}

// Adds what rows from `begin` on lose, of which `logits` are given, to the sums of their sequences.
void T5Inference::addLosses(const TeacherForcedBatch& batch, std::int64_t begin,
                            const TensorView& logits, std::span<double> sums) {
  const std::span<const std::int32_t> offsets = batch.decoder.offsets;
  const std::int64_t end = begin + logits.shape[0];
  auto sequence = std::upper_bound(offsets.begin(), offsets.end(), begin) - offsets.begin() - 1;
  for (std::int64_t row = begin; row < end; ++sequence) {
    const std::int64_t count = std::min<std::int64_t>(offsets[sequence + 1], end) - row;
    CrossEntropy loss;
    loss.logits = logits.rows(row - begin, count);
    loss.labels = batch.labels.subspan(row, count);
    loss.lossSum = &sums[sequence];
    layers_.ops().crossEntropy(loss);
    row += count;
  }
}

// ---------------------------------------------------------------------------- decoding

EncoderDecoder::CacheShape T5Inference::cacheShape() const {
  const auto kvHeads = [&](AttentionModule module) {
    std::vector<std::int64_t> layers;
    for (std::int64_t layer = 0; layer < config_.decoderLayers; ++layer) {
      layers.push_back(config_.module(module).kvHeadsIn(layer));
    }
    return layers;
  };
  return {kvHeads(AttentionModule::decoderSelf), kvHeads(AttentionModule::decoderCross),
          config_.dKv};
}

void T5Inference::checkCacheType(DType dtype) const {
  const ComputeNeeds needs{.dtype = model_.computeDtype(), .headDim = config_.dKv, .cache = dtype};
  if (const auto reason = layers_.ops().whyUnsupported(needs)) {
    throw Error(ErrorCode::unsupported, *reason, "kvCache.dtype",
                supportedTypes(layers_.ops(), needs, &ComputeNeeds::cache));
  }
}

std::unique_ptr<SourceEncoding> T5Inference::startEncoding(SourceBatch batch) {
  return std::make_unique<T5Encoding>(model_, layers_, std::move(batch));
}

TensorView T5Inference::rowsOf(const TensorView& hidden, std::span<const std::int32_t> rows) {
  const auto count = static_cast<std::int64_t>(rows.size());
  if (count == hidden.shape[0]) return hidden;
  const TensorView out = layers_.arena().floats({count, hidden.shape[1]});
  layers_.ops().embedding({rows, hidden, out});
  return out;
}

// What operations write to give `host` its values, after a download: itself if they can.
TensorView T5Inference::resultIn(const TensorView& host) {
  if (layers_.ops().memory().isHost()) return host;
  return layers_.arena().make(host.dtype, {host.shape[0], host.shape[1]});
}

void T5Inference::decodeStep(const DecodeStep& step) {
  const T5Model::CurrentWeights weights(model_, layers_.ops());
  layers_.arena().reset();
  const std::int64_t bytesBefore = layers_.ops().times().weightBytes;
  StepScope scope(layers_.ops());
  const TensorView hidden = decoded(*weights, step);
  TensorView logits;
  TensorView chosen;
  if (!step.logitRows.empty()) {
    const TensorView wanted = rowsOf(hidden, step.logitRows);
    logits = layers_.arena().floats({wanted.shape[0], config_.vocabSize});
    layers_.vocabulary(*weights, layers_.normalise(weights->decoder.finalNorm, wanted), logits);
    chosen = chooseTokens(step, logits);
  }
  scope.end();
  if (chosen.given()) layers_.ops().download(chosen, step.chosen.data());
  for (std::size_t i = 0; i < step.hostRows.size(); ++i) {
    layers_.ops().download(logits.rows(step.hostRows[i], 1),
                           step.hostLogits.rows(static_cast<std::int64_t>(i), 1).data);
  }
  weightBytesRead_ += layers_.ops().times().weightBytes - bytesBefore;
}

// What the step's choices take of its logits; not given if there are none.
TensorView T5Inference::chooseTokens(const DecodeStep& step, const TensorView& logits) {
  if (step.choices.rows.empty()) return {};
  const TensorView chosen = layers_.arena().make(
      DType::int8, {std::ssize(step.chosen), std::int64_t{sizeof(ChosenToken)}});
  layers_.ops().chooseTokens({.logits = logits, .choices = step.choices, .chosen = chosen});
  return chosen;
}

// The residual stream of the step's rows after the last block.
TensorView T5Inference::decoded(const T5Weights& weights, const DecodeStep& step) {
  const TensorView hidden = layers_.embed(weights, step.tokens);
  const RelativeBias bias = layers_.bias(weights.decoder, false);
  for (std::size_t layer = 0; layer < weights.decoder.blocks.size(); ++layer) {
    const T5Weights::Block& block = weights.decoder.blocks[layer];
    const LayerCache& self = step.selfCache[layer];
    const LayerCache& cross = step.crossCache[layer];
    {
      const ArenaScope scope(layers_.arena());
      const TensorView normed = layers_.normalise(block.self.norm, hidden);
      const auto [queries, keyValue] = layers_.queryKeyValue(block.self, normed);
      layers_.append(keyValue, step.selfSlots, self);
      const PagedKv cache = pagedKv(self, step.self);
      layers_.addCachedAttention(block.self, cache, bias, queries, hidden);
    }
    {
      const ArenaScope scope(layers_.arena());
      const TensorView normed = layers_.normalise(block.cross.norm, hidden);
      const PagedKv cache = pagedKv(cross, step.cross);
      layers_.addCachedAttention(block.cross, cache, RelativeBias{},
                                 layers_.query(block.cross, normed), hidden);
    }
    layers_.addFeedForward(block.feedForward, hidden);
  }
  return hidden;
}

}  // namespace wgqa
