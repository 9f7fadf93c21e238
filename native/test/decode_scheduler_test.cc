// The scheduler: who takes part in a step, and what is shared.
#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "decode/scheduler.h"
#include "test/decode_fake_model.h"
#include "test/harness.h"

namespace wgqa {
namespace {

using test::checkNothingHeld;
using test::codeOf;
using test::endless;
using Tokens = std::vector<std::int32_t>;

/// Steps that `scheduler` needs until it has told of a token of request `id`.
int stepsToToken(Scheduler& scheduler, test::Listener& listener, RequestId id) {
  const std::size_t before = listener.tokens[id].size();
  int steps = 0;
  while (listener.tokens[id].size() == before && steps < 1000) {
    listener.step(scheduler);
    ++steps;
  }
  return steps;
}

// ---------------------------------------------------------------------------- tokens

WGQA_TEST(schedulerGreedyIsTheArgmaxOfEachStep) {
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

WGQA_TEST(schedulerKeepsTheModelsLogProbabilities) {
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

WGQA_TEST(schedulerForcedPrefixesContinueWhatWasGenerated) {
  test::FakeModel model({});
  const GenerationRequest whole = endless({3, 4}, 30);
  const Tokens tokens = test::decodeAlone(model, whole)[0].tokenIds;
  for (const std::int64_t budget : {1, 3, 64}) {
    for (const std::size_t forced : {1u, 4u, 11u, 29u}) {
      model.mostFedRows = 0;
      GenerationRequest request = endless({3, 4}, static_cast<std::int64_t>(30 - forced));
      request.forcedPrefix.assign(tokens.begin(), tokens.begin() + forced);
      EngineOptions options = test::makeEngineOptions(model, 100);
      options.maxBatchTokens = budget;
      Scheduler scheduler(model, options);
      test::Listener listener;
      scheduler.submit(1, request);
      listener.drain(scheduler);
      CHECK(listener.results.at(1).sequences.at(0).tokenIds == tokens);
      CHECK_EQUAL(scheduler.stats().generatedTokens, static_cast<std::int64_t>(30 - forced));
      CHECK(model.mostFedRows <= budget);
    }
  }
}

WGQA_TEST(schedulerGreedyEndsWhenNoTokenIsAllowed) {
  test::FakeModel model({.vocab = 4});
  GenerationRequest request = endless({3}, 10);
  request.options.noRepeatNgramSize = 1;
  const auto sequences = test::decodeAlone(model, request);
  CHECK_EQUAL(sequences[0].tokenIds.size(), 3u);
  CHECK(sequences[0].finishReason == FinishReason::blocked);
}

// ---------------------------------------------------------------------------- sharing

WGQA_TEST(schedulerBeamsShareTheBlocksOfTheirHistory) {
  test::FakeModel model({});
  GenerationRequest request = endless({3, 4, 5}, 96);
  request.options.numBeams = 4;
  test::decodeAlone(model, request);
  // Four separate sequences of 96 tokens hold 4 * 24 blocks of 4 tokens.
  CHECK(model.mostSelfBlocks < 48);
  CHECK(model.mostSelfBlocks >= 24);
  CHECK_EQUAL(model.mostCrossBlocks, 1);
}

WGQA_TEST(schedulerSamplesShareOneCrossCacheAndOneFirstStep) {
  test::FakeModel model({});
  GenerationRequest request = endless(Tokens(10, 7), 3);
  request.options.doSample = true;
  request.options.numReturnSequences = 8;
  const auto sequences = test::decodeAlone(model, request);
  CHECK_EQUAL(sequences.size(), 8u);
  CHECK_EQUAL(model.mostCrossBlocks, 3);
  CHECK_EQUAL(model.encodings.size(), 1u);
  CHECK_EQUAL(model.largestBatch, 8);
  CHECK_EQUAL(model.steps, 3);
}

WGQA_TEST(schedulerARepeatedSourceSkipsTheEncoder) {
  test::FakeModel model({});
  Scheduler scheduler(model, test::makeEngineOptions(model, 100));
  test::Listener listener;
  // Two at once, and one after their end.
  for (const RequestId id : {1, 2}) scheduler.submit(id, endless(Tokens(10, 7), 5));
  listener.drain(scheduler);
  scheduler.submit(3, endless(Tokens(10, 7), 5));
  listener.drain(scheduler);
  CHECK_EQUAL(model.encodings.size(), 1u);
  CHECK_EQUAL(model.mostCrossBlocks, 3);
  CHECK_EQUAL(scheduler.stats().sources, 3);
  CHECK_EQUAL(scheduler.stats().sourceHits, 2);
  CHECK_EQUAL(listener.results.at(1).cachedPromptTokens, 0);
  CHECK_EQUAL(listener.results.at(3).cachedPromptTokens, 10);
  checkNothingHeld(scheduler);
  CHECK_EQUAL(scheduler.stats().crossBlocks.cached, 3);
}

WGQA_TEST(schedulerForcedPrefixesOfOneSourceShareTheirBlocks) {
  test::FakeModel model({});
  Scheduler scheduler(model, test::makeEngineOptions(model, 100));
  test::Listener listener;
  GenerationRequest request = endless({3, 4}, 2);
  request.forcedPrefix = {5, 6, 7, 8, 9, 10, 11, 12};
  for (const RequestId id : {1, 2}) {
    scheduler.submit(id, request);
    listener.drain(scheduler);
  }
  // The start token and eight others: two whole blocks of four are known to the second request.
  CHECK_EQUAL(scheduler.stats().prefixTokens, 16);
  CHECK_EQUAL(scheduler.stats().prefixHits, 8);
  CHECK_EQUAL(model.fedRows, 8);
  test::checkSameSequences(listener.results.at(2).sequences, listener.results.at(1).sequences);
}

WGQA_TEST(schedulerNewWeightsForgetWhatIsCached) {
  test::FakeModel model({});
  Scheduler scheduler(model, test::makeEngineOptions(model, 100));
  test::Listener listener;
  scheduler.submit(1, endless({3, 4}, 5));
  listener.drain(scheduler);
  ++model.version;
  scheduler.submit(2, endless({3, 4}, 5));
  listener.drain(scheduler);
  CHECK_EQUAL(model.encodings.size(), 2u);
  CHECK_EQUAL(scheduler.stats().sourceHits, 0);
}

// ---------------------------------------------------------------------------- continuous batching

WGQA_TEST(schedulerFinishedSequencesLeaveAtOnce) {
  test::FakeModel model({});
  std::vector<std::int64_t> rows;
  Scheduler scheduler(model, test::makeEngineOptions(model, 100));
  model.editLogits = [&](std::span<const std::int32_t>, std::span<float>) {
    rows.resize(static_cast<std::size_t>(model.steps), 0);
    ++rows.back();
  };
  test::Listener listener;
  for (const std::int64_t length : {2, 5, 9}) scheduler.submit(length, endless({3}, length));
  listener.drain(scheduler);
  CHECK((rows == std::vector<std::int64_t>{3, 3, 2, 2, 2, 1, 1, 1, 1}));
}

WGQA_TEST(schedulerRequestsJoinBetweenSteps) {
  test::FakeModel model({});
  Scheduler scheduler(model, test::makeEngineOptions(model, 100));
  test::Listener listener;
  scheduler.submit(1, endless({3}, 20));
  for (int i = 0; i < 5; ++i) listener.step(scheduler);
  scheduler.submit(2, endless({4}, 5));
  listener.step(scheduler);
  CHECK_EQUAL(model.largestBatch, 2);
  listener.drain(scheduler);
  CHECK_EQUAL(model.steps, 20);
}

WGQA_TEST(schedulerWaitingRequestsTakeThePlacesThatBecomeFree) {
  test::FakeModel model({});
  EngineOptions options = test::makeEngineOptions(model, 100);
  options.maxBatchSize = 2;
  Scheduler scheduler(model, options);
  test::Listener listener;
  for (std::int64_t i = 0; i < 6; ++i) scheduler.submit(i, endless({3}, 2 + i));
  listener.drain(scheduler);
  CHECK_EQUAL(model.largestBatch, 2);
  // 2 3 4 5 6 7 steps on two places, in order: one ends at 2, 6 and 12, the other at 3, 8 and 15.
  CHECK_EQUAL(model.steps, 15);
}

WGQA_TEST(schedulerALongSourceHoldsUpNoStream) {
  test::FakeModel model({});
  EngineOptions options = test::makeEngineOptions(model, 2000);
  options.maxBatchTokens = 16;
  Scheduler scheduler(model, options);
  test::Listener listener;
  const auto streamed = [](Tokens source, std::int64_t length) {
    GenerationRequest request = endless(std::move(source), length);
    request.reportTokens = true;
    return request;
  };
  scheduler.submit(1, streamed({3}, 400));
  listener.step(scheduler);
  scheduler.submit(2, streamed(Tokens(4000, 5), 4));
  for (int i = 0; i < 20; ++i) CHECK_EQUAL(stepsToToken(scheduler, listener, 1), 1);
  // Every fourth slice is the long source's; a short one takes the next.
  for (RequestId id = 3; id < 10; ++id) {
    scheduler.submit(id, streamed({6, static_cast<std::int32_t>(id)}, 4));
    CHECK(stepsToToken(scheduler, listener, id) <= 2);
  }
  CHECK(*std::max_element(model.slices.begin(), model.slices.end()) <= 16);
  const auto firstTokenOfLong = stepsToToken(scheduler, listener, 2);
  CHECK(firstTokenOfLong <= 4000 / 16);
  listener.drain(scheduler);
  CHECK_EQUAL(scheduler.stats().encodedTokens, 1 + 4000 + 7 * 2);
}

WGQA_TEST(schedulerALongSourceIsEncodedUnderAStreamOfShortOnes) {
  test::FakeModel model({});
  EngineOptions options = test::makeEngineOptions(model, 2000);
  options.maxBatchTokens = 16;
  Scheduler scheduler(model, options);
  test::Listener listener;
  scheduler.submit(1, endless(Tokens(320, 5), 1));
  RequestId next = 2;
  int steps = 0;
  for (; !listener.results.contains(1) && steps < 1000; ++steps) {
    // Each a slice of its own, and one in every step: without its turns the long one would starve.
    Tokens source(16, 6);
    source[0] = static_cast<std::int32_t>(next % 24);
    source[1] = static_cast<std::int32_t>(next / 24);
    scheduler.submit(next++, endless(source, 1));
    listener.step(scheduler);
  }
  CHECK(steps <= 4 * 320 / 16 + 1);
}

WGQA_TEST(schedulerSmallSourcesAreEncodedTogether) {
  test::FakeModel model({});
  EngineOptions options = test::makeEngineOptions(model, 100);
  options.maxBatchTokens = 8;
  Scheduler scheduler(model, options);
  test::Listener listener;
  for (const std::size_t length : {3u, 4u, 5u, 20u, 1u}) {
    scheduler.submit(length, endless(Tokens(length, 3), 2));
  }
  listener.drain(scheduler);
  // Nothing runs, so that the slice is four times the budget: the shortest first, with what fits
  // beside it: 1 + 3 + 4 + 5; then 20 in what slices it takes.
  CHECK((model.encodings == std::vector<std::int64_t>{13, 20}));
}

WGQA_TEST(schedulerSlicesAreLongWhileMoreWaitThanRun) {
  for (const bool runs : {false, true}) {
    test::FakeModel model({});
    EngineOptions options = test::makeEngineOptions(model, 100);
    options.maxBatchTokens = 8;
    Scheduler scheduler(model, options);
    test::Listener listener;
    if (runs) {
      GenerationRequest beams = endless({3}, 12);
      beams.options.numBeams = 3;
      scheduler.submit(0, beams);
      listener.step(scheduler);
    }
    model.encodings.clear();
    for (std::int32_t i = 1; i <= 3; ++i) {
      scheduler.submit(static_cast<RequestId>(i), endless(Tokens(8, 3 + i), 2));
    }
    listener.drain(scheduler);
    CHECK((model.encodings ==
           (runs ? std::vector<std::int64_t>{8, 8, 8} : std::vector<std::int64_t>{24})));
  }
}

// ---------------------------------------------------------------------------- figures

WGQA_TEST(schedulerStatsCountWhatHappened) {
  test::FakeModel model({});
  // The budget is enormous; what two short requests hold is not.
  EngineOptions options = test::makeEngineOptions(model, 1);
  options.maxCacheBytes = std::int64_t{1} << 32;
  Scheduler scheduler(model, options);
  test::Listener listener;
  scheduler.submit(1, endless({3}, 6));
  scheduler.submit(2, endless({4}, 9));
  listener.drain(scheduler);
  const EngineStats stats = scheduler.stats();
  CHECK_EQUAL(stats.completed, 2);
  CHECK_EQUAL(stats.decodeSteps, 9);
  CHECK_EQUAL(stats.decodedRows, 15);
  CHECK_EQUAL(stats.generatedTokens, 15);
  CHECK_EQUAL(stats.encodedTokens, 2);
  CHECK_EQUAL(stats.decodeWeightBytes, 9 * test::FakeModel::kBytesPerStep);
  CHECK_EQUAL(stats.selfBytesPerToken, 2 * 2 * 2 * 2 * 4);  // K and V, layers, heads, headDim, f32
  CHECK_EQUAL(stats.crossBytesPerToken, 2 * 2 * 1 * 2 * 4);
  CHECK_EQUAL(stats.maxCacheBytes, options.maxCacheBytes);
  // Full blocks of 4 tokens stay in the cache: one of the first request, two of the second; and
  // both sources.
  CHECK_EQUAL(stats.selfBlocks.cached, 3);
  CHECK_EQUAL(stats.crossBlocks.cached, 2);
  CHECK_EQUAL(stats.cacheBytes, 4 * (3 * stats.selfBytesPerToken + 2 * stats.crossBytesPerToken));
  CHECK(stats.decodeSeconds > 0.0);
  CHECK(stats.encodeSeconds > 0.0);
  CHECK(stats.tokensPerSecond > 0.0);
  CHECK(stats.stepMilliseconds.p50 > 0.0);
  CHECK(stats.stepMilliseconds.p50 <= stats.stepMilliseconds.max);
  CHECK(stats.firstTokenMilliseconds.p99 > 0.0);
}

WGQA_TEST(schedulerStatsCountTokensThatWereProcessed) {
  test::FakeModel model({});
  Scheduler scheduler(model, test::makeEngineOptions(model, 100));
  test::Listener listener;
  GenerationRequest request = endless({3}, 20);
  request.processesLogits = true;
  scheduler.submit(1, request);
  listener.drain(scheduler);
  CHECK(scheduler.stats().tokensPerSecond > 0.0);
}

WGQA_TEST(schedulerStatsCountEachPrefixOnce) {
  test::FakeModel model({});
  EngineOptions options = test::makeEngineOptions(model, 400);
  options.maxBatchTokens = 8;  // the requests are fed one after the other
  Scheduler scheduler(model, options);
  test::Listener listener;
  for (RequestId id = 0; id < 8; ++id) {
    GenerationRequest request = endless({3, static_cast<std::int32_t>(id + 2)}, 2);
    request.forcedPrefix = Tokens(100, 7);
    scheduler.submit(id, request);
  }
  listener.drain(scheduler);
  CHECK_EQUAL(scheduler.stats().prefixTokens, 8 * 100);
  CHECK_EQUAL(scheduler.stats().prefixHits, 0);
}

WGQA_TEST(schedulerPercentilesAreThoseOfTheLast1024Values) {
  RecentValues values;
  CHECK_EQUAL(values.percentiles().max, 0.0);
  for (int i = 1; i <= 100; ++i) values.add(i);
  CHECK_EQUAL(values.percentiles().p50, 50.0);
  CHECK_EQUAL(values.percentiles().p90, 90.0);
  CHECK_EQUAL(values.percentiles().p99, 99.0);
  CHECK_EQUAL(values.percentiles().max, 100.0);
  for (int i = 0; i < 1024; ++i) values.add(7.0);
  CHECK_EQUAL(values.percentiles().max, 7.0);
  CHECK_EQUAL(values.sum(), 7.0 * 1024);
}

WGQA_TEST(schedulerAnEmptyStepDoesNothing) {
  test::FakeModel model({});
  Scheduler scheduler(model, test::makeEngineOptions(model, 10));
  CHECK(!scheduler.hasWork());
  EngineEvents events;
  scheduler.step(events);
  CHECK(events.empty());
  CHECK_EQUAL(model.steps, 0);
  CHECK_EQUAL(scheduler.stats().stepMilliseconds.max, 0.0);
}

}  // namespace
}  // namespace wgqa
