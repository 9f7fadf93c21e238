#include "test/decode_fake_model.h"

#include <algorithm>
#include <string>

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

std::int64_t elementOffset(const TensorView& side, std::int64_t slot, std::int64_t head) {
  const std::int64_t block = slot / side.shape[2];
  const std::int64_t place = slot % side.shape[2];
  return block * side.strides[0] + head * side.strides[1] + place * side.strides[2];
}

void store(const TensorView& side, std::int64_t slot, float value) {
  for (std::int64_t head = 0; head < side.shape[1]; ++head) {
    const std::int64_t offset = elementOffset(side, slot, head);
    for (std::int64_t i = 0; i < side.shape[3]; ++i) {
      if (side.dtype == DType::float32) {
        side.as<float>()[offset + i] = value;
      } else {
        side.as<BFloat16>()[offset + i] = toBFloat16(value);
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
      const float element = side.dtype == DType::float32 ? side.as<float>()[offset + i]
                                                         : toFloat(side.as<BFloat16>()[offset + i]);
      require(head + i == 0 || element == value, "heads of a slot differ");
      value = element;
    }
  }
  return value;
}

void storeToken(std::span<const LayerCache> cache, std::int64_t slot, std::int32_t id) {
  for (std::size_t layer = 0; layer < cache.size(); ++layer) {
    store(cache[layer].keys, slot, static_cast<float>(id));
    store(cache[layer].values, slot,
          static_cast<float>(id) + kLayerStep * static_cast<float>(layer));
  }
}

std::int32_t loadToken(std::span<const LayerCache> cache, std::int64_t slot) {
  const float id = load(cache[0].keys, slot);
  for (std::size_t layer = 0; layer < cache.size(); ++layer) {
    require(load(cache[layer].keys, slot) == id, "a layer's key is another token's");
    require(load(cache[layer].values, slot) == id + kLayerStep * static_cast<float>(layer),
            "a layer's value is another token's");
  }
  return static_cast<std::int32_t>(id);
}

std::vector<std::int32_t> loadSequence(std::span<const LayerCache> cache, const BlockTables& tables,
                                       std::size_t sequence) {
  const std::int64_t blockTokens = cache[0].keys.shape[2];
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
  return {.layers = options_.layers,
          .selfKvHeads = options_.selfKvHeads,
          .crossKvHeads = options_.crossKvHeads,
          .headDim = kHeadDim};
}

void FakeModel::encode(std::span<const std::int32_t> ids, const RaggedOffsets& offsets,
                       const TensorView& states) {
  require(offsets.tokens() == static_cast<std::int64_t>(ids.size()), "offsets do not cover ids");
  encodedTokens.push_back(offsets.tokens());
  for (std::size_t i = 0; i < ids.size(); ++i) {
    for (std::int64_t d = 0; d < stateSize(); ++d) {
      states.as<float>()[i * stateSize() + d] = static_cast<float>(ids[i]);
    }
  }
}

void FakeModel::appendCross(const CrossAppend& append) {
  for (std::size_t i = 0; i < append.slots.size(); ++i) {
    const float id = append.encoderStates.as<float>()[i * stateSize()];
    storeToken(append.cache, append.slots[i], static_cast<std::int32_t>(id));
  }
}

void FakeModel::decodeStep(const DecodeStep& step) {
  if (beforeStep) beforeStep();
  const std::size_t rows = step.tokens.size();
  ++steps;
  largestBatch = std::max(largestBatch, static_cast<std::int64_t>(rows));
  mostSelfBlocks = std::max(mostSelfBlocks, differentBlocks(step.self));
  mostCrossBlocks = std::max(mostCrossBlocks, differentBlocks(step.cross));
  for (std::size_t i = 0; i < rows; ++i) {
    storeToken(step.selfCache, step.selfSlots[i], step.tokens[i]);
  }
  for (std::size_t i = 0; i < rows; ++i) {
    const auto history = loadSequence(step.selfCache, step.self, i);
    require(history.back() == step.tokens[i], "the newest token is not the last of its sequence");
    const auto source = loadSequence(step.crossCache, step.cross, i);
    const std::vector<float> logits = logitsOf(source, history);
    float* row = step.logits.as<float>() + i * options_.vocab;
    std::copy(logits.begin(), logits.end(), row);
    if (editLogits) editLogits(source, {row, logits.size()});
  }
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

DecoderOptions makeDecoderOptions(const FakeModel& model, std::int64_t blocks) {
  constexpr std::int64_t kBlockTokens = 4;
  const auto shape = model.cacheShape();
  const std::int64_t bytes = 2 * shape.layers * (shape.selfKvHeads + shape.crossKvHeads) *
                             kBlockTokens * shape.headDim * std::int64_t{sizeof(float)};
  DecoderOptions options;
  options.blockTokens = kBlockTokens;
  options.maxCacheBytes = blocks * bytes;
  return options;
}

std::vector<GeneratedSequence> decodeAlone(FakeModel& model, const GenerationRequest& request) {
  Decoder decoder(model, makeDecoderOptions(model, 1000));
  std::vector<GenerationResult> results = decoder.run({&request, 1});
  if (results[0].error) throw *results[0].error;
  CHECK_EQUAL(decoder.stats().blocksFree, decoder.stats().blocksTotal);
  return std::move(results[0].sequences);
}

void checkSameSequences(std::span<const GeneratedSequence> actual,
                        std::span<const GeneratedSequence> expected, double scoreTolerance) {
  CHECK_EQUAL(actual.size(), expected.size());
  for (std::size_t i = 0; i < std::min(actual.size(), expected.size()); ++i) {
    CHECK(actual[i].tokenIds == expected[i].tokenIds);
    CHECK(actual[i].finishReason == expected[i].finishReason);
    CHECK(actual[i].logProbs == expected[i].logProbs);
    CHECK_EQUAL(actual[i].score.has_value(), expected[i].score.has_value());
    if (actual[i].score && expected[i].score) {
      CHECK_NEAR(*actual[i].score, *expected[i].score, scoreTolerance);
    }
  }
}

}  // namespace wgqa::test
