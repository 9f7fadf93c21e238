// The scheduler: aborts, pauses, timeouts, logits processors and failures, and what they leave
// behind.
#include <chrono>
#include <limits>
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

// ---------------------------------------------------------------------------- control

WGQA_TEST(schedulerAnAbortFreesItsBlocksAtOnceAndDisturbsNoOne) {
  for (std::int64_t abortedStep = 0; abortedStep < 12; ++abortedStep) {
    test::FakeModel model({});
    EngineOptions options = test::makeEngineOptions(model, 100);
    options.maxBatchSize = 5;  // the last request waits
    options.maxBatchTokens = 4;
    Scheduler scheduler(model, options);
    test::Listener listener;
    std::vector<GenerationRequest> requests;
    for (std::int32_t i = 0; i < 4; ++i) {
      requests.push_back(endless({3, 5, 5, 5, 5, 4 + i}, 14));
      if (i == 1) requests.back().options.numBeams = 3;
      scheduler.submit(static_cast<RequestId>(i), requests.back());
    }
    for (std::int64_t i = 0; i < abortedStep; ++i) listener.step(scheduler);
    scheduler.abort(1);
    scheduler.abort(3);
    scheduler.checkInvariant();
    listener.step(scheduler);
    CHECK_EQUAL(codeOf(listener.results.at(1)), "ABORTED");
    CHECK_EQUAL(codeOf(listener.results.at(3)), "ABORTED");
    CHECK(listener.results.at(1).sequences.empty());
    listener.drain(scheduler);
    checkNothingHeld(scheduler);
    CHECK_EQUAL(scheduler.stats().aborted, 2);
    for (const std::size_t i : {0u, 2u}) {
      test::checkSameSequences(listener.results.at(i).sequences,
                               test::decodeAlone(model, requests[i]));
    }
  }
}

WGQA_TEST(schedulerNobodyEncodesWhatNobodyWaitsFor) {
  test::FakeModel model({});
  EngineOptions options = test::makeEngineOptions(model, 200);
  options.maxBatchTokens = 4;
  Scheduler scheduler(model, options);
  test::Listener listener;
  for (const RequestId id : {1, 2}) scheduler.submit(id, endless(Tokens(100, 3), 2));
  for (int i = 0; i < 3; ++i) listener.step(scheduler);
  scheduler.abort(1);
  for (int i = 0; i < 3; ++i) listener.step(scheduler);
  CHECK_EQUAL(model.slices.size(), 6u);
  scheduler.abort(2);
  listener.drain(scheduler);
  CHECK_EQUAL(model.slices.size(), 6u);
  CHECK_EQUAL(scheduler.stats().crossBlocks.cached, 0);
  checkNothingHeld(scheduler);
}

WGQA_TEST(schedulerAPausedRequestWaitsAndTheOthersGoOn) {
  test::FakeModel model({});
  Scheduler scheduler(model, test::makeEngineOptions(model, 100));
  test::Listener listener;
  for (const RequestId id : {1, 2}) scheduler.submit(id, endless({3}, 10));
  for (int i = 0; i < 3; ++i) listener.step(scheduler);
  scheduler.setPaused(1, true);
  listener.drain(scheduler);
  CHECK(listener.results.contains(2));
  CHECK(!listener.results.contains(1));
  CHECK_EQUAL(scheduler.stats().held, 1);
  CHECK(scheduler.stats().selfBlocks.referenced > 0);
  scheduler.setPaused(1, false);
  listener.drain(scheduler);
  test::checkSameSequences(listener.results.at(1).sequences, listener.results.at(2).sequences);
  CHECK_EQUAL(listener.results.at(1).preemptions, 0);
}

WGQA_TEST(schedulerAPausedRequestGivesItsBlocksToWhoNeedsThem) {
  test::FakeModel model({});
  Scheduler scheduler(model, test::makeEngineOptions(model, 8));  // 12 if all were self-attention's
  test::Listener listener;
  // Each takes ten blocks in the end: there is not room for both.
  for (const RequestId id : {1, 2}) scheduler.submit(id, endless({3}, 40));
  for (int i = 0; i < 20; ++i) listener.step(scheduler);
  scheduler.setPaused(1, true);
  listener.drain(scheduler);
  CHECK(listener.results.contains(2));
  scheduler.setPaused(1, false);
  listener.drain(scheduler);
  CHECK(listener.results.at(1).preemptions > 0);
  test::checkSameSequences(listener.results.at(1).sequences, listener.results.at(2).sequences);
}

WGQA_TEST(schedulerASourceThatPausedRequestsLeaveIsEncodedForTheNext) {
  test::FakeModel model({});
  EngineOptions options = test::makeEngineOptions(model, 20);
  options.maxBatchTokens = 4;
  Scheduler scheduler(model, options);
  test::Listener listener;
  scheduler.submit(0, endless({3}, 60));
  for (int i = 0; i < 50; ++i) listener.step(scheduler);
  const Tokens source(8, 5);
  scheduler.submit(1, endless(source, 5));
  listener.step(scheduler);  // half of its source is encoded
  for (const RequestId id : {0, 1}) scheduler.setPaused(id, true);
  // Fits only when both have given way.
  GenerationRequest large = endless(source, 2);
  large.forcedPrefix = Tokens(80, 7);
  scheduler.submit(2, large);
  listener.drain(scheduler);
  test::checkSameSequences(listener.results.at(2).sequences, test::decodeAlone(model, large));
  for (const RequestId id : {0, 1}) scheduler.setPaused(id, false);
  listener.drain(scheduler);
  for (const RequestId id : {0, 1}) CHECK_EQUAL(codeOf(listener.results.at(id)), "no error");
  CHECK(listener.results.at(1).preemptions > 0);
  checkNothingHeld(scheduler);
}

WGQA_TEST(schedulerPausedRequestsKeepTheirBlocksWhereGivingWayIsNotEnough) {
  test::FakeModel model({});
  // 60 units, of which a block of self-attention takes two and one of cross-attention one.
  Scheduler scheduler(model, test::makeEngineOptions(model, 20));
  test::Listener listener;
  for (const RequestId id : {0, 1, 2}) {
    scheduler.submit(id, endless({3, static_cast<std::int32_t>(id + 2)}, 20));
  }
  scheduler.submit(3, endless({4}, 70));
  for (int i = 0; i < 19; ++i) listener.step(scheduler);
  for (const RequestId id : {0, 1, 2}) scheduler.setPaused(id, true);
  const std::int64_t before = scheduler.stats().preemptions;
  GenerationRequest large = endless({9}, 2);  // 26 blocks
  large.forcedPrefix = Tokens(100, 7);
  scheduler.submit(4, large);
  listener.step(scheduler);
  CHECK_EQUAL(scheduler.stats().queued, 1);
  CHECK_EQUAL(scheduler.stats().preemptions, before);
  for (const RequestId id : {0, 1, 2}) scheduler.setPaused(id, false);
  listener.drain(scheduler);
  CHECK_EQUAL(listener.results.size(), 5u);
  checkNothingHeld(scheduler);
}

WGQA_TEST(schedulerTimeoutsEndRequestsWhereverTheyAre) {
  test::FakeModel model({});
  Scheduler::TimePoint time{};
  EngineOptions options = test::makeEngineOptions(model, 100);
  options.maxBatchSize = 2;
  Scheduler scheduler(model, options, [&] { return time; });
  test::Listener listener;
  for (RequestId id = 1; id <= 3; ++id) {  // the third waits for a place
    GenerationRequest request = endless({3}, 50);
    if (id != 2) request.timeoutMilliseconds = 100.0 * static_cast<double>(id);
    scheduler.submit(id, request);
  }
  CHECK(scheduler.nextDeadline() == time + std::chrono::milliseconds(100));
  time += std::chrono::milliseconds(99);
  listener.step(scheduler);
  CHECK(listener.results.empty());
  time += std::chrono::milliseconds(1);
  listener.step(scheduler);
  CHECK_EQUAL(codeOf(listener.results.at(1)), "TIMEOUT");
  CHECK_NEAR(listener.results.at(1).totalMilliseconds, 100.0, 1e-9);
  CHECK(scheduler.nextDeadline() == Scheduler::TimePoint{} + std::chrono::milliseconds(300));
  time += std::chrono::milliseconds(200);
  listener.drain(scheduler);
  CHECK_EQUAL(codeOf(listener.results.at(2)), "no error");
  CHECK_EQUAL(codeOf(listener.results.at(3)), "TIMEOUT");
  CHECK(!scheduler.nextDeadline().has_value());
  checkNothingHeld(scheduler);
}

// ---------------------------------------------------------------------------- logits processors

WGQA_TEST(schedulerProcessorsChangeLogitsBeforeAllElse) {
  test::FakeModel model({});
  GenerationRequest request = endless({3}, 6);
  request.processesLogits = true;
  const auto forceThenEnd = [](std::span<const std::int32_t> history, std::span<float> logits) {
    logits[10 + history.size()] = 100.0f;
  };
  for (const std::int64_t beams : {1, 3}) {
    request.options.numBeams = beams;
    const auto sequences = test::decodeAlone(model, request, forceThenEnd);
    CHECK((sequences[0].tokenIds == Tokens{10, 11, 12, 13, 14, 15}));
  }
}

WGQA_TEST(schedulerLogProbabilitiesAreThoseBeforeProcessors) {
  test::FakeModel model({});
  GenerationRequest request = endless({3}, 4);
  request.options.logProbs = true;
  for (const std::int64_t beams : {1, 3}) {
    request.options.numBeams = beams;
    request.processesLogits = false;
    const auto plain = test::decodeAlone(model, request);
    request.processesLogits = true;
    // The same choices, by another distribution.
    const auto sharpen = [](std::span<const std::int32_t>, std::span<float> logits) {
      for (float& logit : logits) logit *= 1.0f + 0x1p-10f;
    };
    const auto processed = test::decodeAlone(model, request, sharpen);
    CHECK(processed[0].tokenIds == plain[0].tokenIds);
    CHECK(processed[0].logProbs == plain[0].logProbs);
  }
}

WGQA_TEST(schedulerARequestThatProcessesLogitsKeepsItsTurn) {
  for (const int delay : {0, 1, 3}) {
    test::FakeModel model({});
    Scheduler scheduler(model, test::makeEngineOptions(model, 12));
    test::Listener listener;
    GenerationRequest oldest = endless(Tokens(8, 5), 20);
    oldest.processesLogits = true;
    scheduler.submit(0, oldest);
    RequestId last = 0;
    std::vector<std::pair<int, LogitsEvent>> unanswered;
    int steps = 0;
    for (; !listener.results.contains(0) && steps < 1000; ++steps) {
      while (last < 8 + listener.results.size()) {
        ++last;
        scheduler.submit(last, endless({3, static_cast<std::int32_t>(2 + last % 20)}, 20));
      }
      EngineEvents events;
      scheduler.step(events);
      for (LogitsEvent& event : events.logits) unanswered.emplace_back(steps + delay, event);
      for (FinishEvent& event : events.finished) listener.results[event.request] = event.result;
      std::erase_if(unanswered, [&](const auto& entry) {
        if (entry.first > steps) return false;
        scheduler.answerLogits(entry.second.request, entry.second.logits);
        return true;
      });
    }
    CHECK_EQUAL(listener.results.at(0).preemptions, 0);
    // A step for each token and its answer, and some for the source.
    CHECK(steps < 20 * (delay + 2) + 10);
  }
}

WGQA_TEST(schedulerARequestWaitsForItsLogitsAlone) {
  test::FakeModel model({});
  Scheduler scheduler(model, test::makeEngineOptions(model, 100));
  test::Listener listener;
  GenerationRequest request = endless({3}, 4);
  request.processesLogits = true;
  scheduler.submit(1, request);
  scheduler.submit(2, endless({3}, 4));
  EngineEvents events;
  scheduler.step(events);
  CHECK_EQUAL(events.logits.size(), 1u);
  CHECK(events.logits.at(0).histories == std::vector<Tokens>{{}});
  CHECK(events.logits.at(0).logits == model.logitsOf(request.inputIds, Tokens{0}));
  listener.drain(scheduler);
  CHECK(listener.results.contains(2));
  CHECK_EQUAL(scheduler.stats().held, 1);
  scheduler.answerLogits(1, std::move(events.logits[0].logits));
  listener.drain(scheduler);
  test::checkSameSequences(listener.results.at(1).sequences, listener.results.at(2).sequences);
}

WGQA_TEST(schedulerAnswersOfAnotherSizeFailTheirRequest) {
  test::FakeModel model({});
  Scheduler scheduler(model, test::makeEngineOptions(model, 100));
  test::Listener listener;
  GenerationRequest request = endless({3}, 4);
  request.processesLogits = true;
  scheduler.submit(1, request);
  EngineEvents events;
  scheduler.step(events);
  scheduler.answerLogits(1, std::vector<float>(7));
  listener.drain(scheduler);
  CHECK_EQUAL(codeOf(listener.results.at(1)), "INVALID_ARGUMENT");
  CHECK_EQUAL(listener.results.at(1).error->field(), "logits");
  checkNothingHeld(scheduler);
}

// ---------------------------------------------------------------------------- failures

WGQA_TEST(schedulerLogitsThatAreNotFiniteFailTheirRequestAlone) {
  constexpr std::int32_t kBadSource = 9;
  for (const std::int64_t beams : {1, 3}) {
    test::FakeModel model({});
    Scheduler scheduler(model, test::makeEngineOptions(model, 100));
    model.editLogits = [&](std::span<const std::int32_t> source, std::span<float> logits) {
      if (source[0] == kBadSource && model.steps == 2) {
        logits[7] = std::numeric_limits<float>::quiet_NaN();
      }
    };
    test::Listener listener;
    std::vector<GenerationRequest> requests;
    for (const std::int32_t source : {3, kBadSource, 4}) {
      requests.push_back(endless({source}, 6));
      requests.back().options.numBeams = beams;
      scheduler.submit(requests.size() - 1, requests.back());
    }
    listener.drain(scheduler);
    CHECK_EQUAL(codeOf(listener.results.at(1)), "NON_FINITE");
    CHECK_EQUAL(scheduler.stats().failed, 1);
    checkNothingHeld(scheduler);
    model.editLogits = nullptr;
    for (const std::size_t i : {0u, 2u}) {
      test::checkSameSequences(listener.results.at(i).sequences,
                               test::decodeAlone(model, requests[i]));
    }
  }
}

WGQA_TEST(schedulerAStepThatThrowsFailsWhoTookPart) {
  test::FakeModel model({});
  EngineOptions options = test::makeEngineOptions(model, 100);
  options.maxBatchSize = 5;
  Scheduler scheduler(model, options);
  test::Listener listener;
  for (RequestId id = 0; id < 3; ++id) {  // the last one waits
    GenerationRequest request = endless({static_cast<std::int32_t>(3 + id)}, 6);
    if (id == 1) request.options.numBeams = 4;
    scheduler.submit(id, request);
  }
  model.beforeStep = [&] {
    if (model.steps == 3) {
      model.beforeStep = nullptr;
      throw Error(ErrorCode::outOfMemory, "scratch");
    }
  };
  listener.drain(scheduler);
  CHECK_EQUAL(codeOf(listener.results.at(0)), "OUT_OF_MEMORY");
  CHECK_EQUAL(codeOf(listener.results.at(1)), "OUT_OF_MEMORY");
  CHECK_EQUAL(codeOf(listener.results.at(2)), "no error");
  checkNothingHeld(scheduler);
}

WGQA_TEST(schedulerASliceThatThrowsFailsWhoWaitedForIt) {
  test::FakeModel model({});
  EngineOptions options = test::makeEngineOptions(model, 100);
  options.maxBatchTokens = 4;
  Scheduler scheduler(model, options);
  test::Listener listener;
  scheduler.submit(0, endless({5}, 20));
  for (const RequestId id : {1, 2}) scheduler.submit(id, endless(Tokens(10, 7), 6));
  model.beforeSlice = [&] {
    if (model.slices.size() == 2) throw Error(ErrorCode::outOfMemory, "scratch");
  };
  for (int i = 0; i < 5; ++i) listener.step(scheduler);
  model.beforeSlice = nullptr;
  scheduler.submit(3, endless(Tokens(10, 7), 6));
  listener.drain(scheduler);
  CHECK_EQUAL(codeOf(listener.results.at(0)), "no error");
  CHECK_EQUAL(codeOf(listener.results.at(1)), "OUT_OF_MEMORY");
  CHECK_EQUAL(codeOf(listener.results.at(2)), "OUT_OF_MEMORY");
  CHECK_EQUAL(codeOf(listener.results.at(3)), "no error");
  checkNothingHeld(scheduler);
}

}  // namespace
}  // namespace wgqa
