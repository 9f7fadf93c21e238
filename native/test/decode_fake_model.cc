#include "test/decode_fake_model.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <set>
#include <string>
#include <utility>

#include "base/error.h"
#include "test/harness.h"

namespace wgqa::test {
namespace {

constexpr std::int64_t kHeadDim = 2;
constexpr float kLayerStep = 64.0f;  // values of layer l are id + 64 * l

std::uint64_t mix(std::uint64_t hash, std::uint64_t value) {
  hash ^= value + 0x9E3779B97F4A7C15ull + (hash << 6) + (hash >> 2);
  hash ^= hash >> 31;
  hash *= 0xBF58476D1CE4E5B9ull;
  return hash ^ (hash >> 29);
}

// A side of a cache is seen as [blocks, kvHeads, blockTokens, headDim]: keys transposed.
std::int64_t elementOffset(const TensorView& side, std::int64_t slot, std::int64_t head) {
  const std::int64_t block = slot / side.shape[2];
  const std::int64_t place = slot % side.shape[2];
  return block * side.strides[0] + head * side.strides[1] + place * side.strides[2];
}

void store(const TensorView& side, std::int64_t slot, float value) {
  for (std::int64_t head = 0; head < side.shape[1]; ++head) {
    const std::int64_t offset = elementOffset(side, slot, head);
    for (std::int64_t i = 0; i < side.shape[3]; ++i) {
      const std::int64_t at = offset + i * side.strides[3];
      if (side.dtype == DType::float32) {
        side.as<float>()[at] = value;
      } else {
        side.as<BFloat16>()[at] = toBFloat16(value);
      }
    }
  }
}

/// The value of a slot, which all heads and dimensions hold alike.
float load(const TensorView& side, std::int64_t slot) {
  float value = 0.0f;
  for (std::int64_t head = 0; head < side.shape[1]; ++head) {
    const std::int64_t offset = elementOffset(side, slot, head);
    for (std::int64_t i = 0; i < side.shape[3]; ++i) {
      const std::int64_t at = offset + i * side.strides[3];
      const float element =
          side.dtype == DType::float32 ? side.as<float>()[at] : toFloat(side.as<BFloat16>()[at]);
      require(head + i == 0 || element == value, "heads of a slot differ");
      value = element;
    }
  }
  return value;
}

void storeToken(std::span<const LayerCache> cache, std::int64_t slot, std::int32_t id) {
  for (std::size_t layer = 0; layer < cache.size(); ++layer) {
    store(cache[layer].keys.transposed(), slot, static_cast<float>(id));
    store(cache[layer].values, slot,
          static_cast<float>(id) + kLayerStep * static_cast<float>(layer));
  }
}

std::int32_t loadToken(std::span<const LayerCache> cache, std::int64_t slot) {
  const float id = load(cache[0].keys.transposed(), slot);
  for (std::size_t layer = 0; layer < cache.size(); ++layer) {
    require(load(cache[layer].keys.transposed(), slot) == id, "a layer's key is another token's");
    require(load(cache[layer].values, slot) == id + kLayerStep * static_cast<float>(layer),
            "a layer's value is another token's");
  }
  return static_cast<std::int32_t>(id);
}

std::vector<std::int32_t> loadSequence(std::span<const LayerCache> cache, const BlockTables& tables,
                                       std::size_t sequence) {
  const std::int64_t blockTokens = cache[0].values.shape[2];
  std::vector<std::int32_t> ids;
  for (std::int32_t i = 0; i < tables.lengths[sequence]; ++i) {
    const std::int64_t entry = tables.offsets[sequence] + i / blockTokens;
    require(entry < tables.offsets[sequence + 1], "a table is shorter than its length");
    ids.push_back(loadToken(cache, tables.blocks[entry] * blockTokens + i % blockTokens));
  }
  return ids;
}

std::int64_t differentBlocks(const BlockTables& tables) {
  return static_cast<std::int64_t>(
      std::set<std::int32_t>(tables.blocks.begin(), tables.blocks.end()).size());
}

}  // namespace

EncoderDecoder::CacheShape FakeModel::cacheShape() const {
  return {.selfKvHeads = options_.selfKvHeads,
          .crossKvHeads = options_.crossKvHeads,
          .headDim = kHeadDim};
}

/// Writes a token's K/V when the token is encoded: half an encoding leaves half a source behind.
class FakeModel::Encoding final : public SourceEncoding {
 public:
  Encoding(FakeModel& model, SourceBatch batch) : model_(model), batch_(std::move(batch)) {}

  std::int64_t workLeft() const override {
    return static_cast<std::int64_t>(batch_.ids.size() - done_);
  }

  void advance(std::int64_t work) override {
    require(workLeft() > 0, "an encoding went on after its end");
    if (model_.beforeSlice) model_.beforeSlice();
    const std::int64_t tokens = std::clamp<std::int64_t>(work, 1, workLeft());
    model_.slices.push_back(tokens);
    for (std::int64_t i = 0; i < tokens; ++i, ++done_) {
      storeToken(batch_.cache, batch_.slots[done_], batch_.ids[done_]);
    }
  }

 private:
  FakeModel& model_;
  SourceBatch batch_;
  std::size_t done_ = 0;
};

std::unique_ptr<SourceEncoding> FakeModel::startEncoding(SourceBatch batch) {
  require(batch.offsets.back() == static_cast<std::int32_t>(batch.ids.size()),
          "offsets do not cover ids");
  require(batch.slots.size() == batch.ids.size(), "a token has no slot");
  encodings.push_back(static_cast<std::int64_t>(batch.ids.size()));
  return std::make_unique<Encoding>(*this, std::move(batch));
}

void FakeModel::decodeStep(const DecodeStep& step) {
  if (beforeStep) beforeStep();
  const std::size_t rows = step.tokens.size();
  const auto wanted = static_cast<std::int64_t>(step.logitRows.size());
  const std::int64_t fed = static_cast<std::int64_t>(rows) - wanted;
  ++steps;
  largestBatch = std::max(largestBatch, wanted);
  mostFedRows = std::max(mostFedRows, fed);
  fedRows += fed;
  mostSelfBlocks = std::max(mostSelfBlocks, differentBlocks(step.self));
  mostCrossBlocks = std::max(mostCrossBlocks, differentBlocks(step.cross));
  const std::set<std::int64_t> slots(step.selfSlots.begin(), step.selfSlots.end());
  require(slots.size() == rows, "two rows write one slot");
  for (std::size_t i = 0; i < rows; ++i) {
    storeToken(step.selfCache, step.selfSlots[i], step.tokens[i]);
  }
  logits_.resize(static_cast<std::size_t>(wanted * options_.vocab));
  std::int64_t next = 0;
  for (std::size_t i = 0; i < rows; ++i) {
    const auto history = loadSequence(step.selfCache, step.self, i);
    require(history.back() == step.tokens[i], "the newest token is not the last of its sequence");
    if (next == wanted || step.logitRows[next] != static_cast<std::int32_t>(i)) continue;
    const auto source = loadSequence(step.crossCache, step.cross, i);
    const std::vector<float> logits = logitsOf(source, history);
    float* row = logits_.data() + next * options_.vocab;
    std::copy(logits.begin(), logits.end(), row);
    if (editLogits) editLogits(source, {row, logits.size()});
    ++next;
  }
  require(next == wanted, "logitRows is not ascending");
  require(step.hostRows.size() + step.choices.rows.size() == step.logitRows.size(),
          "logits that nobody wants");
  for (std::size_t i = 0; i < step.hostRows.size(); ++i) {
    std::copy_n(logits_.data() + step.hostRows[i] * options_.vocab, options_.vocab,
                step.hostLogits.as<float>() + static_cast<std::int64_t>(i) * options_.vocab);
  }
  chooser_.run({.logits = TensorView(logits_.data(), DType::float32, {wanted, options_.vocab}),
                .choices = step.choices,
                .chosen = TensorView(step.chosen.data(), DType::int8,
                                     {std::ssize(step.chosen), sizeof(ChosenToken)})});
}

std::vector<float> FakeModel::logitsOf(std::span<const std::int32_t> source,
                                       std::span<const std::int32_t> history) const {
  std::uint64_t hash = options_.seed;
  for (const std::int32_t id : source) hash = mix(hash, static_cast<std::uint64_t>(id));
  hash = mix(hash, 0xFFFF);
  for (const std::int32_t id : history) hash = mix(hash, static_cast<std::uint64_t>(id));
  std::vector<float> logits(static_cast<std::size_t>(options_.vocab));
  for (std::size_t token = 0; token < logits.size(); ++token) {
    const double unit = static_cast<double>(mix(hash, token) >> 40) / 16777216.0;
    logits[token] = options_.spread * static_cast<float>(2.0 * unit - 1.0);
  }
  logits[options_.endToken] += options_.endBias;
  return logits;
}

GenerationRequest makeRequest(std::vector<std::int32_t> inputIds, std::int64_t maxNewTokens) {
  GenerationRequest request;
  request.inputIds = std::move(inputIds);
  request.options.maxNewTokens = maxNewTokens;
  request.options.eosTokenIds = {1};
  return request;
}

std::int64_t kvElementsPerToken(const EncoderDecoder::CacheShape& shape) {
  std::int64_t heads = 0;
  for (const auto* kvHeads : {&shape.selfKvHeads, &shape.crossKvHeads}) {
    heads = std::accumulate(kvHeads->begin(), kvHeads->end(), heads);
  }
  return 2 * heads * shape.headDim;
}

EngineOptions makeEngineOptions(const FakeModel& model, std::int64_t blocks) {
  constexpr std::int64_t kBlockTokens = 4;
  const std::int64_t bytes =
      kvElementsPerToken(model.cacheShape()) * kBlockTokens * std::int64_t{sizeof(float)};
  EngineOptions options;
  options.blockTokens = kBlockTokens;
  options.maxCacheBytes = blocks * bytes;
  return options;
}

void Listener::step(Scheduler& scheduler) {
  EngineEvents events;
  scheduler.step(events);
  for (const TokenEvent& event : events.tokens) tokens[event.request].push_back(event.generated);
  for (LogitsEvent& event : events.logits) {
    const std::size_t vocab = event.logits.size() / event.histories.size();
    for (std::size_t row = 0; processor && row < event.histories.size(); ++row) {
      processor(event.histories[row], std::span(event.logits).subspan(row * vocab, vocab));
    }
    scheduler.answerLogits(event.request, std::move(event.logits));
  }
  for (FinishEvent& event : events.finished) {
    CHECK(!results.contains(event.request));
    results[event.request] = std::move(event.result);
  }
}

void Listener::drain(Scheduler& scheduler) {
  while (scheduler.hasWork()) step(scheduler);
}

std::vector<GeneratedSequence> decodeAlone(EncoderDecoder& model, const EngineOptions& options,
                                           const GenerationRequest& request,
                                           const Listener::Processor& processor) {
  Scheduler scheduler(model, options);
  Listener listener;
  listener.processor = processor;
  scheduler.submit(1, request);
  listener.drain(scheduler);
  scheduler.checkInvariant();
  GenerationResult& result = listener.results.at(1);
  if (result.error) throw *result.error;
  return std::move(result.sequences);
}

std::vector<GeneratedSequence> decodeAlone(FakeModel& model, const GenerationRequest& request,
                                           const Listener::Processor& processor) {
  return decodeAlone(model, makeEngineOptions(model, 1000), request, processor);
}

namespace {

/// Tokens 2 to 23 are the letters from 'c' on; the start and end tokens have no text.
std::shared_ptr<const TokenPieces> letterPieces() {
  std::string bytes;
  std::vector<std::uint32_t> offsets = {0, 0, 0};
  for (char letter = 'c'; letter <= 'x'; ++letter) {
    bytes.push_back(letter);
    offsets.push_back(static_cast<std::uint32_t>(bytes.size()));
  }
  return std::make_shared<TokenPieces>(bytes, offsets, false);
}

void setRandomStrategy(std::mt19937& random, GenerationOptions& options) {
  switch (random() % 4) {
    case 0:
      return;
    case 1:
      options.doSample = true;
      options.numReturnSequences = 1 + random() % 4;
      options.topK = random() % 2 == 0 ? 5 : 0;
      options.topP = random() % 2 == 0 ? 0.9 : 1.0;
      options.minP = random() % 4 == 0 ? 0.05 : 0.0;
      return;
    default:
      options.doSample = random() % 4 == 0;
      options.numBeams = 2 + random() % 3;
      options.numReturnSequences = 1 + random() % options.numBeams;
      options.earlyStopping = random() % 2 == 0 ? EarlyStopping::yes : EarlyStopping::no;
  }
}

std::vector<std::int32_t> randomTokens(std::mt19937& random, std::size_t length) {
  std::vector<std::int32_t> tokens(length);
  for (std::int32_t& token : tokens) token = static_cast<std::int32_t>(2 + random() % 22);
  return tokens;
}

void setRandomEdits(std::mt19937& random, GenerationOptions& options) {
  RowEditOptions& edits = options.edits;
  options.topLogProbs = static_cast<std::int64_t>(random() % 4);
  edits.encoderNoRepeatNgramSize = random() % 2 == 0 ? 2 : 0;
  edits.suppressTokens = {static_cast<std::int32_t>(2 + random() % 20)};
  // Not one that is suppressed: then no token would be allowed.
  if (random() % 2 == 0) edits.forcedBosTokenId = edits.suppressTokens[0] + 1;
  edits.renormalizeLogits = random() % 2 == 0;
}

}  // namespace

GenerationRequest randomRequest(std::mt19937& random) {
  std::mt19937 source(random() % 12);  // one of twelve
  GenerationRequest request =
      makeRequest(randomTokens(source, 1 + source() % 12), 1 + random() % 14);
  GenerationOptions& options = request.options;
  options.seed = random();
  options.logProbs = random() % 2 == 0;
  options.noRepeatNgramSize = random() % 3 == 0 ? 2 : 0;
  options.repetitionPenalty = random() % 3 == 0 ? 1.3 : 1.0;
  setRandomStrategy(random, options);
  if (random() % 3 == 0) request.forcedPrefix = randomTokens(source, random() % 7);
  if (random() % 4 == 0) {
    static const auto pieces = letterPieces();
    request.stops = StopStrings({"de", "n"}, pieces);
  }
  if (random() % 4 == 0) setRandomEdits(random, options);
  request.processesLogits = random() % 5 == 0;
  request.reportTokens = options.numBeams == 1 && random() % 2 == 0;
  return request;
}

void banSomeTokens(std::span<const std::int32_t> history, std::span<float> logits) {
  for (std::size_t token = 2 + history.size() % 5; token < logits.size(); token += 5) {
    logits[token] = -std::numeric_limits<float>::infinity();
  }
}

void checkNothingHeld(const Scheduler& scheduler) {
  const EngineStats stats = scheduler.stats();
  CHECK_EQUAL(stats.selfBlocks.referenced, 0);
  CHECK_EQUAL(stats.crossBlocks.referenced, 0);
  CHECK_EQUAL(stats.queued + stats.encoding + stats.running + stats.held, 0);
  scheduler.checkInvariant();
}

std::string codeOf(const GenerationResult& result) {
  return result.error ? errorCodeName(result.error->code()) : "no error";
}

GenerationRequest endless(std::vector<std::int32_t> source, std::int64_t length) {
  GenerationRequest request = makeRequest(std::move(source), length);
  request.options.eosTokenIds = {};
  return request;
}

void checkSameSequences(std::span<const GeneratedSequence> actual,
                        std::span<const GeneratedSequence> expected, double scoreTolerance) {
  CHECK_EQUAL(actual.size(), expected.size());
  for (std::size_t i = 0; i < std::min(actual.size(), expected.size()); ++i) {
    CHECK(actual[i].tokenIds == expected[i].tokenIds);
    CHECK(actual[i].finishReason == expected[i].finishReason);
    CHECK(actual[i].logProbs == expected[i].logProbs);
    CHECK(std::equal(actual[i].alternatives.begin(), actual[i].alternatives.end(),
                     expected[i].alternatives.begin(), expected[i].alternatives.end(),
                     [](const ScoredToken& a, const ScoredToken& b) {
                       return a.token == b.token && a.score == b.score;
                     }));
    CHECK_EQUAL(actual[i].score.has_value(), expected[i].score.has_value());
    if (actual[i].score && expected[i].score) {
      CHECK_NEAR(*actual[i].score, *expected[i].score, scoreTolerance);
    }
  }
}

}  // namespace wgqa::test
