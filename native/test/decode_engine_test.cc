// The engine's thread: callers on other threads, and its end.
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

#include "decode/engine.h"
#include "test/decode_fake_model.h"
#include "test/harness.h"

namespace wgqa {
namespace {

/// Takes an engine's events, on its thread, for waiting callers.
class Inbox {
 public:
  void take(EngineEvents&& events) {
    const std::lock_guard lock(mutex_);
    tokens_ += events.tokens.size();
    for (FinishEvent& event : events.finished) {
      finishedTwice_ = finishedTwice_ || results_.contains(event.request);
      results_[event.request] = std::move(event.result);
    }
    for (LogitsEvent& event : events.logits) logits_.push_back(std::move(event));
    changed_.notify_all();
  }

  GenerationResult wait(RequestId id) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return results_.contains(id); });
    return results_[id];
  }

  LogitsEvent waitForLogits() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !logits_.empty(); });
    LogitsEvent event = std::move(logits_.back());
    logits_.pop_back();
    return event;
  }

  void waitForTokens(std::size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return tokens_ >= count; });
  }

  std::map<RequestId, GenerationResult> results() {
    const std::lock_guard lock(mutex_);
    CHECK(!finishedTwice_);
    return results_;
  }

  Engine::Listener listener() {
    return [this](EngineEvents&& events) { take(std::move(events)); };
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t tokens_ = 0;
  bool finishedTwice_ = false;
  std::map<RequestId, GenerationResult> results_;
  std::vector<LogitsEvent> logits_;
};

Engine::MakeModel makeFakeModel() {
  return [] { return std::make_unique<test::FakeModel>(test::FakeModel::Options{}); };
}

EngineOptions engineOptions(std::int64_t blocks) {
  return test::makeEngineOptions(test::FakeModel({}), blocks);
}

GenerationRequest endless(std::int64_t length) {
  GenerationRequest request = test::makeRequest({3, 4}, length);
  request.options.eosTokenIds = {};
  request.reportTokens = true;
  return request;
}

WGQA_TEST(engineServesManyThreadsAtOnce) {
  constexpr RequestId kThreads = 4;
  constexpr RequestId kEach = 40;
  Inbox inbox;
  Engine engine(makeFakeModel(), engineOptions(60), 1, inbox.listener());
  std::vector<std::vector<GenerationRequest>> requests(kThreads);
  std::vector<std::thread> callers;
  for (RequestId thread = 0; thread < kThreads; ++thread) {
    std::mt19937 random(static_cast<std::uint32_t>(thread));
    for (RequestId i = 0; i < kEach; ++i) {
      requests[thread].push_back(test::randomRequest(random));
      requests[thread].back().processesLogits = false;
    }
    callers.emplace_back([&, thread] {
      for (RequestId i = 0; i < kEach; ++i) {
        engine.submit(thread * kEach + i, requests[thread][i]);
        if (i % 8 == 7) engine.abort(thread * kEach + i - 3);
        if (i % 8 == 5) inbox.wait(thread * kEach + i);
        CHECK(engine.stats().queued >= 0);
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  test::FakeModel model({});
  for (RequestId id = 0; id < kThreads * kEach; ++id) {
    const GenerationResult result = inbox.wait(id);
    if (result.error) {
      CHECK(result.error->code() == ErrorCode::aborted);
      CHECK_EQUAL(id % kEach % 8, 4u);
      continue;
    }
    test::checkSameSequences(result.sequences,
                             test::decodeAlone(model, requests[id / kEach][id % kEach]));
  }
  const EngineStats stats = engine.stats();
  CHECK_EQUAL(stats.selfBlocks.referenced + stats.crossBlocks.referenced, 0);
}

WGQA_TEST(engineStopsInTheMiddleOfItsWork) {
  for (int round = 0; round < 20; ++round) {
    Inbox inbox;
    Engine engine(makeFakeModel(), engineOptions(3000), 1, inbox.listener());
    for (RequestId id = 0; id < 8; ++id) engine.submit(id, endless(4000));
    inbox.waitForTokens(static_cast<std::size_t>(round));
    std::thread other([&] { engine.stop(); });
    engine.stop();
    other.join();
    engine.submit(99, endless(2));  // ignored
    const auto results = inbox.results();
    CHECK_EQUAL(results.size(), 8u);
    for (const auto& [id, result] : results) {
      CHECK(result.error && result.error->code() == ErrorCode::disposed);
    }
    CHECK_EQUAL(engine.stats().running, 0);
  }
}

WGQA_TEST(engineIsDestroyedWithoutHavingWorked) {
  Inbox inbox;
  const Engine engine(makeFakeModel(), engineOptions(10), 1, inbox.listener());
  CHECK_EQUAL(engine.stats().maxCacheBytes, 0);
}

WGQA_TEST(engineWakesUpForADeadline) {
  Inbox inbox;
  Engine engine(makeFakeModel(), engineOptions(100), 1, inbox.listener());
  GenerationRequest request = endless(4);
  request.processesLogits = true;
  request.timeoutMilliseconds = 20.0;
  engine.submit(1, request);
  inbox.waitForLogits();  // and never answers
  const GenerationResult result = inbox.wait(1);
  CHECK(result.error && result.error->code() == ErrorCode::timeout);
}

WGQA_TEST(engineTakesAnswersAndPauses) {
  Inbox inbox;
  Engine engine(makeFakeModel(), engineOptions(100), 1, inbox.listener());
  GenerationRequest request = endless(3);
  request.processesLogits = true;
  engine.submit(1, request);
  for (int i = 0; i < 3; ++i) {
    LogitsEvent event = inbox.waitForLogits();
    engine.setPaused(1, true);
    engine.answerLogits(1, std::move(event.logits));
    engine.setPaused(1, false);
  }
  test::FakeModel model({});
  request.processesLogits = false;
  test::checkSameSequences(inbox.wait(1).sequences, test::decodeAlone(model, request));
}

WGQA_TEST(engineAModelThatCannotBeMadeFailsItsRequestsOnly) {
  Inbox inbox;
  int calls = 0;
  const auto makeModel = [&]() -> std::unique_ptr<EncoderDecoder> {
    if (++calls < 3) throw Error(ErrorCode::outOfMemory, "no room for the weights");
    return makeFakeModel()();
  };
  Engine engine(makeModel, engineOptions(100), 1, inbox.listener());
  for (RequestId id = 1; id <= 3; ++id) {
    engine.submit(id, endless(2));
    const GenerationResult result = inbox.wait(id);
    CHECK_EQUAL(result.error.has_value(), id < 3);
    if (result.error) CHECK(result.error->code() == ErrorCode::outOfMemory);
  }
}

WGQA_TEST(engineBadOptionsFailRequests) {
  Inbox inbox;
  EngineOptions options = engineOptions(10);
  options.maxBatchSize = 0;
  Engine engine(makeFakeModel(), options, 1, inbox.listener());
  engine.submit(1, endless(2));
  const GenerationResult result = inbox.wait(1);
  CHECK(result.error && result.error->field() == "maxBatchSize");
}

}  // namespace
}  // namespace wgqa
