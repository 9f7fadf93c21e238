// The decoder: requests do not see each other, share what can be shared, and leave nothing behind.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "decode/decoder.h"
#include "test/decode_fake_model.h"
#include "test/harness.h"

namespace wgqa {
namespace {

using Tokens = std::vector<std::int32_t>;

void checkAllFree(const Decoder& decoder) {
  const DecoderStats stats = decoder.stats();
  CHECK_EQUAL(stats.blocksFree, stats.blocksTotal);
  CHECK(stats.blocksTotal > 0);
}

std::string codeOf(const GenerationResult& result) {
  return result.error ? errorCodeName(result.error->code()) : "no error";
}

/// Greedy, sampling and beams with random options; sources of 1 to 12 tokens.
GenerationRequest randomRequest(std::mt19937& random) {
  Tokens source(1 + random() % 12);
  for (std::int32_t& id : source) id = static_cast<std::int32_t>(random() % 24);
  GenerationRequest request = test::makeRequest(source, 1 + random() % 14);
  GenerationOptions& o = request.options;
  o.seed = random();
  o.logProbs = random() % 2 == 0;
  o.noRepeatNgramSize = random() % 3 == 0 ? 2 : 0;
  o.repetitionPenalty = random() % 3 == 0 ? 1.3 : 1.0;
  switch (random() % 4) {
    case 0:
      break;
    case 1:
      o.doSample = true;
      o.numReturnSequences = 1 + random() % 4;
      o.topK = random() % 2 == 0 ? 5 : 0;
      o.topP = random() % 2 == 0 ? 0.9 : 1.0;
      break;
    case 2:
      o.doSample = random() % 2 == 0;
      [[fallthrough]];
    default:
      o.numBeams = 2 + random() % 3;
      o.numReturnSequences = 1 + random() % o.numBeams;
      o.earlyStopping = random() % 2 == 0 ? EarlyStopping::yes : EarlyStopping::no;
  }
  return request;
}

WGQA_TEST(decodeGreedyIsTheArgmaxOfEachStep) {
  for (std::uint32_t seed = 0; seed < 30; ++seed) {
    test::FakeModel model({.seed = seed, .endBias = 1.0f});
    const GenerationRequest request = test::makeRequest({3, 9, 4, 4, 20}, 20);
    Tokens history = {0};
    while (history.size() < 21 && (history.size() == 1 || history.back() != 1)) {
      const auto logits = model.logitsOf(request.inputIds, history);
      history.push_back(static_cast<std::int32_t>(std::max_element(logits.begin(), logits.end()) -
                                                  logits.begin()));
    }
    const auto sequences = test::decodeAlone(model, request);
    CHECK(sequences[0].tokenIds == Tokens(history.begin() + 1, history.end()));
    CHECK_EQUAL(sequences[0].finishReason == FinishReason::stop, history.back() == 1);
    CHECK(!sequences[0].score.has_value());
  }
}

WGQA_TEST(decodeABatchEqualsItsRequestsAlone) {
  for (std::uint32_t seed = 0; seed < 60; ++seed) {
    std::mt19937 random(seed);
    test::FakeModel model(
        {.selfKvHeads = 1 + seed % 3, .crossKvHeads = 1 + seed % 2, .seed = seed});
    std::vector<GenerationRequest> requests;
    for (int i = 0; i < 12; ++i) requests.push_back(randomRequest(random));
    // From room for about one request at a time to room for all.
    DecoderOptions options = test::makeDecoderOptions(model, 20 + random() % 200);
    options.maxBatchSize = 4 + random() % 40;
    options.maxEncodeTokens = 1 + random() % 40;
    options.cacheDtype = seed % 2 == 0 ? DType::float32 : DType::bfloat16;
    options.blockTokens = 1 + random() % 6;
    Decoder decoder(model, options);
    model.beforeStep = [&] { decoder.checkInvariant(); };
    const auto results = decoder.run(requests);
    model.beforeStep = nullptr;
    CHECK(model.largestBatch <= options.maxBatchSize);
    CHECK(decoder.stats().cacheBytes <= options.maxCacheBytes);
    checkAllFree(decoder);
    for (std::size_t i = 0; i < requests.size(); ++i) {
      CHECK_EQUAL(codeOf(results[i]), "no error");
      test::checkSameSequences(results[i].sequences, test::decodeAlone(model, requests[i]));
    }
    if (test::failuresOfRunningTest() > 0) {
      test::note("seed " + std::to_string(seed));
      return;
    }
  }
}

WGQA_TEST(decodeBeamsShareTheBlocksOfTheirHistory) {
  test::FakeModel model({});
  GenerationRequest request = test::makeRequest({3, 4, 5}, 96);
  request.options.eosTokenIds = {};
  request.options.numBeams = 4;
  test::decodeAlone(model, request);
  // Four separate sequences of 96 tokens hold 4 * 24 blocks of 4 tokens.
  CHECK(model.mostSelfBlocks < 48);
  CHECK(model.mostSelfBlocks >= 24);
  CHECK_EQUAL(model.mostCrossBlocks, 1);
}

WGQA_TEST(decodeSamplesShareOneCrossCacheAndOneFirstStep) {
  test::FakeModel model({});
  GenerationRequest request = test::makeRequest(Tokens(10, 7), 3);
  request.options.eosTokenIds = {};
  request.options.doSample = true;
  request.options.numReturnSequences = 8;
  const auto sequences = test::decodeAlone(model, request);
  CHECK_EQUAL(sequences.size(), 8u);
  CHECK_EQUAL(model.mostCrossBlocks, 3);
  CHECK_EQUAL(model.encodedTokens.size(), 1u);
  CHECK_EQUAL(model.largestBatch, 8);
  CHECK_EQUAL(model.steps, 3);
}

WGQA_TEST(decodeFinishedSequencesLeaveAtOnce) {
  test::FakeModel model({});
  std::vector<GenerationRequest> requests;
  for (const std::int64_t length : {2, 5, 9}) requests.push_back(test::makeRequest({3}, length));
  for (GenerationRequest& request : requests) request.options.eosTokenIds = {};
  std::vector<std::int64_t> rows;
  DecoderOptions options = test::makeDecoderOptions(model, 100);
  Decoder decoder(model, options);
  model.editLogits = [&](std::span<const std::int32_t>, std::span<float>) {
    rows.resize(static_cast<std::size_t>(model.steps), 0);
    ++rows.back();
  };
  decoder.run(requests);
  CHECK((rows == std::vector<std::int64_t>{3, 3, 2, 2, 2, 1, 1, 1, 1}));
}

WGQA_TEST(decodeWaitingRequestsTakeThePlacesThatBecomeFree) {
  test::FakeModel model({});
  std::vector<GenerationRequest> requests;
  for (std::int64_t i = 0; i < 6; ++i) requests.push_back(test::makeRequest({3}, 2 + i));
  for (GenerationRequest& request : requests) request.options.eosTokenIds = {};
  DecoderOptions options = test::makeDecoderOptions(model, 100);
  options.maxBatchSize = 2;
  Decoder decoder(model, options);
  decoder.run(requests);
  CHECK_EQUAL(model.largestBatch, 2);
  // 2 3 4 5 6 7 steps on two places, in order: one ends at 2, 6 and 12, the other at 3, 8 and 15.
  CHECK_EQUAL(model.steps, 15);
}

WGQA_TEST(decodeEncodesInChunksOfTheTokenBudget) {
  test::FakeModel model({});
  std::vector<GenerationRequest> requests;
  for (const std::size_t length : {3u, 4u, 5u, 20u, 1u}) {
    requests.push_back(test::makeRequest(Tokens(length, 3), 2));
  }
  DecoderOptions options = test::makeDecoderOptions(model, 100);
  options.maxEncodeTokens = 8;
  Decoder decoder(model, options);
  decoder.run(requests);
  CHECK((model.encodedTokens == std::vector<std::int64_t>{7, 5, 20, 1}));
}

WGQA_TEST(decodeAnAbortFreesItsBlocksAndDisturbsNoOne) {
  for (std::int64_t abortedStep = 0; abortedStep < 8; ++abortedStep) {
    test::FakeModel model({});
    std::atomic<bool> abort = abortedStep == 0;
    std::vector<GenerationRequest> requests;
    for (int i = 0; i < 4; ++i) {
      requests.push_back(test::makeRequest({3, static_cast<std::int32_t>(4 + i)}, 10));
      requests.back().options.eosTokenIds = {};
    }
    requests[1].options.numBeams = 3;
    requests[1].abort = &abort;
    requests[3].abort = &abort;
    DecoderOptions options = test::makeDecoderOptions(model, 100);
    options.maxBatchSize = 5;  // the last request waits
    Decoder decoder(model, options);
    model.beforeStep = [&] {
      decoder.checkInvariant();
      abort = abort || model.steps + 1 >= abortedStep;
    };
    const auto results = decoder.run(requests);
    CHECK_EQUAL(codeOf(results[1]), "ABORTED");
    CHECK_EQUAL(codeOf(results[3]), "ABORTED");
    CHECK(results[1].sequences.empty());
    CHECK_EQUAL(model.steps, 10);
    checkAllFree(decoder);
    model.beforeStep = nullptr;
    for (const std::size_t i : {0u, 2u}) {
      test::checkSameSequences(results[i].sequences, test::decodeAlone(model, requests[i]));
    }
  }
}

WGQA_TEST(decodeAnAbortTakesEffectWithinOneStep) {
  test::FakeModel model({});
  std::atomic<bool> abort = false;
  GenerationRequest request = test::makeRequest({3}, 1000);
  request.options.eosTokenIds = {};
  request.abort = &abort;
  model.beforeStep = [&] { abort = model.steps >= 4; };
  Decoder decoder(model, test::makeDecoderOptions(model, 300));
  CHECK_EQUAL(codeOf(decoder.run({&request, 1})[0]), "ABORTED");
  CHECK_EQUAL(model.steps, 5);
}

WGQA_TEST(decodeStreamsTheTokensOfASingleSequence) {
  test::FakeModel model({.endBias = 1.0f});
  Tokens streamed;
  GenerationRequest request = test::makeRequest({3, 4}, 30);
  request.onToken = [&](std::int32_t token) { streamed.push_back(token); };
  CHECK(test::decodeAlone(model, request)[0].tokenIds == streamed);
  CHECK(!streamed.empty());
  streamed.clear();
  request.options.numBeams = 2;
  test::decodeAlone(model, request);
  CHECK(streamed.empty());
}

WGQA_TEST(decodeKeepsTheModelsLogProbabilities) {
  test::FakeModel model({});
  GenerationRequest request = test::makeRequest({3, 4}, 8);
  request.options.doSample = true;
  request.options.temperature = 0.7;  // does not show in the log-probabilities
  request.options.repetitionPenalty = 1.5;
  request.options.logProbs = true;
  const auto sequence = test::decodeAlone(model, request)[0];
  CHECK_EQUAL(sequence.logProbs.size(), sequence.tokenIds.size());
  Tokens history = {0};
  for (std::size_t i = 0; i < sequence.tokenIds.size(); ++i) {
    const auto logits = model.logitsOf(request.inputIds, history);
    double sum = 0.0;
    for (const float logit : logits) sum += std::exp(static_cast<double>(logit));
    CHECK_NEAR(sequence.logProbs[i], logits[sequence.tokenIds[i]] - std::log(sum), 1e-6);
    history.push_back(sequence.tokenIds[i]);
  }
}

WGQA_TEST(decodeLogitsThatAreNotFiniteFailTheirRequestAlone) {
  constexpr std::int32_t kBadSource = 9;
  for (const std::int64_t beams : {1, 3}) {
    test::FakeModel model({});
    std::vector<GenerationRequest> requests = {
        test::makeRequest({3}, 6), test::makeRequest({kBadSource}, 6), test::makeRequest({4}, 6)};
    for (GenerationRequest& request : requests) request.options.numBeams = beams;
    Decoder decoder(model, test::makeDecoderOptions(model, 100));
    model.editLogits = [&](std::span<const std::int32_t> source, std::span<float> logits) {
      if (source[0] == kBadSource && model.steps == 2) {
        logits[7] = std::numeric_limits<float>::quiet_NaN();
      }
    };
    const auto results = decoder.run(requests);
    CHECK_EQUAL(codeOf(results[1]), "NON_FINITE");
    checkAllFree(decoder);
    for (const std::size_t i : {0u, 2u}) {
      test::checkSameSequences(results[i].sequences, test::decodeAlone(model, requests[i]));
    }
  }
}

WGQA_TEST(decodeACallbackThatThrowsFailsItsRequestAlone) {
  test::FakeModel model({});
  std::vector<GenerationRequest> requests = {test::makeRequest({3}, 6), test::makeRequest({4}, 6)};
  requests[0].onToken = [](std::int32_t) { throw std::runtime_error("callback"); };
  Decoder decoder(model, test::makeDecoderOptions(model, 100));
  const auto results = decoder.run(requests);
  CHECK_EQUAL(codeOf(results[0]), "INTERNAL");
  CHECK_EQUAL(codeOf(results[1]), "no error");
  checkAllFree(decoder);
}

WGQA_TEST(decodeAStepThatThrowsLeavesTheDecoderUsable) {
  test::FakeModel model({});
  std::vector<GenerationRequest> requests = {test::makeRequest({3}, 6), test::makeRequest({4}, 6)};
  requests[1].options.numBeams = 4;
  Decoder decoder(model, test::makeDecoderOptions(model, 100));
  model.beforeStep = [&] {
    if (model.steps == 3) throw Error(ErrorCode::outOfMemory, "scratch");
  };
  CHECK_THROWS(ErrorCode::outOfMemory, decoder.run(requests));
  checkAllFree(decoder);
  model.beforeStep = nullptr;
  const auto results = decoder.run(requests);
  test::checkSameSequences(results[1].sequences, test::decodeAlone(model, requests[1]));
}

WGQA_TEST(decodeGreedyEndsWhenNoTokenIsAllowed) {
  test::FakeModel model({.vocab = 4});
  GenerationRequest request = test::makeRequest({3}, 10);
  request.options.eosTokenIds = {};
  request.options.noRepeatNgramSize = 1;
  const auto sequences = test::decodeAlone(model, request);
  CHECK_EQUAL(sequences[0].tokenIds.size(), 3u);
  CHECK(sequences[0].finishReason == FinishReason::length);
}

WGQA_TEST(decodeStatsCountWhatHappened) {
  test::FakeModel model({});
  std::vector<GenerationRequest> requests = {test::makeRequest({3}, 6), test::makeRequest({4}, 9)};
  for (GenerationRequest& request : requests) request.options.eosTokenIds = {};
  // The budget is enormous; what two short requests hold is not.
  DecoderOptions options = test::makeDecoderOptions(model, 1);
  options.maxCacheBytes = std::int64_t{1} << 32;
  Decoder decoder(model, options);
  decoder.run(requests);
  const DecoderStats stats = decoder.stats();
  CHECK_EQUAL(stats.decodeSteps, 9);
  CHECK_EQUAL(stats.generatedTokens, 15);
  CHECK_EQUAL(stats.decodeWeightBytes, 9 * test::FakeModel::kBytesPerStep);
  CHECK_EQUAL(stats.selfBytesPerToken, 2 * 2 * 2 * 2 * 4);  // K and V, layers, heads, headDim, f32
  CHECK_EQUAL(stats.crossBytesPerToken, 2 * 2 * 1 * 2 * 4);
  CHECK_EQUAL(stats.blocksTotal, options.maxCacheBytes / (4 * stats.selfBytesPerToken));
  // Blocks of 4 tokens: 2 + 2 of self-attention at most (the third of the longer request reuses one
  // that the shorter had) and 1 + 1 of cross-attention.
  CHECK_EQUAL(stats.cacheBytes, 4 * (4 * stats.selfBytesPerToken + 2 * stats.crossBytesPerToken));
  CHECK(stats.decodeSeconds > 0.0);
  CHECK(stats.encodeSeconds > 0.0);
}

WGQA_TEST(decodeEmptyRunsDoNothing) {
  test::FakeModel model({});
  Decoder decoder(model, test::makeDecoderOptions(model, 10));
  CHECK(decoder.run({}).empty());
  CHECK_EQUAL(model.steps, 0);
}

}  // namespace
}  // namespace wgqa
