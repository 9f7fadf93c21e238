// What a request generates depends on nothing but the request: not on who else is there, who comes,
// leaves or waits, how much memory there is, or how often its blocks are taken away.
#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "decode/scheduler.h"
#include "test/decode_fake_model.h"
#include "test/harness.h"

namespace wgqa {
namespace {

constexpr int kRequests = 64;

/// Callers that come at random times, change their minds, and read slowly.
class Crowd {
 public:
  Crowd(test::FakeModel& model, std::uint32_t seed, const EngineOptions& options)
      : model_(model), random_(seed), scheduler_(model, options) {
    listener_.processor = test::banSomeTokens;
    model.beforeStep = [this] { scheduler_.checkInvariant(); };
    model.beforeSlice = [this] { scheduler_.checkInvariant(); };
  }
  ~Crowd() { model_.beforeStep = model_.beforeSlice = nullptr; }

  void add(GenerationRequest request) { requests_.push_back(std::move(request)); }

  /// Until every request has come and ended.
  void run(bool aborts) {
    std::size_t submitted = 0;
    while (submitted < requests_.size() || scheduler_.hasWork() || !paused_.empty()) {
      while (submitted < requests_.size() && random_() % 3 != 0) {
        scheduler_.submit(submitted, requests_[submitted]);
        ++submitted;
      }
      if (aborts && submitted > 0 && random_() % 6 == 0) abort(random_() % submitted);
      if (submitted > 0 && random_() % 4 == 0) pause(random_() % submitted);
      if (random_() % 3 == 0) resumeAll();
      listener_.step(scheduler_);
      scheduler_.checkInvariant();
    }
  }

  /// Every request that was not aborted against what it gives alone.
  void check() {
    const EngineStats stats = scheduler_.stats();
    CHECK_EQUAL(stats.selfBlocks.referenced + stats.crossBlocks.referenced, 0);
    CHECK_EQUAL(listener_.results.size(), requests_.size());
    CHECK_EQUAL(stats.completed + stats.aborted, static_cast<std::int64_t>(requests_.size()));
    model_.beforeStep = model_.beforeSlice = nullptr;
    for (const auto& [id, result] : listener_.results) {
      if (aborted_.contains(id) && result.error) {
        CHECK(result.error->code() == ErrorCode::aborted);
        continue;
      }
      if (result.error) {
        test::fail(std::to_string(id) + ": " + result.error->what());
        continue;
      }
      const auto alone = test::decodeAlone(model_, requests_[id], test::banSomeTokens);
      test::checkSameSequences(result.sequences, alone);
      checkReported(id, alone);
    }
  }

  EngineStats stats() const { return scheduler_.stats(); }

 private:
  void abort(RequestId id) {
    scheduler_.abort(id);
    aborted_.insert(id);
    paused_.erase(id);
  }

  void pause(RequestId id) {
    scheduler_.setPaused(id, true);
    paused_.insert(id);
  }

  void resumeAll() {
    for (const RequestId id : paused_) scheduler_.setPaused(id, false);
    paused_.clear();
  }

  /// Each token was reported once, in its order.
  void checkReported(RequestId id, const std::vector<GeneratedSequence>& sequences) {
    const GenerationRequest& request = requests_[id];
    CHECK_EQUAL(listener_.tokens.contains(id), request.reportTokens);
    if (!request.reportTokens) return;
    std::map<std::int32_t, std::vector<std::int32_t>> reported;
    for (const GeneratedToken& token : listener_.tokens[id]) {
      reported[token.sequence].push_back(token.token);
    }
    for (std::size_t i = 0; i < sequences.size(); ++i) {
      const auto& ids = sequences[i].tokenIds;
      const auto begin = ids.begin() + static_cast<std::ptrdiff_t>(request.forcedPrefix.size());
      CHECK(reported[static_cast<std::int32_t>(i)] == std::vector<std::int32_t>(begin, ids.end()));
    }
  }

  test::FakeModel& model_;
  std::mt19937 random_;
  Scheduler scheduler_;
  test::Listener listener_;
  std::vector<GenerationRequest> requests_;
  std::set<RequestId> aborted_;
  std::set<RequestId> paused_;
};

EngineOptions randomOptions(const test::FakeModel& model, std::mt19937& random,
                            std::int64_t blocks) {
  EngineOptions options = test::makeEngineOptions(model, blocks);
  options.maxBatchSize = 4 + random() % 40;
  options.maxBatchTokens = 1 + random() % 40;
  options.cacheDtype = random() % 2 == 0 ? DType::float32 : DType::bfloat16;
  return options;
}

WGQA_TEST(schedulerAnyRequestAloneEqualsItAmong63Others) {
  for (std::uint32_t seed = 0; seed < 40; ++seed) {
    std::mt19937 random(seed);
    test::FakeModel model({.selfKvHeads = 1 + seed % 3, .crossKvHeads = 1 + seed % 2, .seed = seed});
    // From room for about one request at a time to room for all.
    Crowd crowd(model, seed, randomOptions(model, random, 28 + random() % 400));
    for (int i = 0; i < kRequests; ++i) crowd.add(test::randomRequest(random));
    crowd.run(seed % 2 == 1);
    crowd.check();
    if (test::failuresOfRunningTest() > 0) return test::note("seed " + std::to_string(seed));
  }
}

WGQA_TEST(schedulerConstantPreemptionChangesNothing) {
  std::int64_t preemptions = 0;
  for (std::uint32_t seed = 0; seed < 20; ++seed) {
    std::mt19937 random(seed);
    test::FakeModel model({.seed = seed});
    // Four sequences of 24 tokens, each with its source of up to 12, in blocks of 4.
    EngineOptions options = randomOptions(model, random, 4 * (6 + 3));
    options.maxBatchSize = 64;
    Crowd crowd(model, seed, options);
    for (int i = 0; i < kRequests; ++i) {
      GenerationRequest request = test::randomRequest(random);
      request.options.maxNewTokens = 18;
      request.options.eosTokenIds = {};
      crowd.add(std::move(request));
    }
    crowd.run(seed % 2 == 1);
    crowd.check();
    preemptions += crowd.stats().preemptions;
    if (test::failuresOfRunningTest() > 0) return test::note("seed " + std::to_string(seed));
  }
  CHECK(preemptions > 20 * kRequests / 2);
}

WGQA_TEST(schedulerResumedRequestsFindTheirOwnBlocksAgain) {
  test::FakeModel model({});
  // Room for one sequence of 40 tokens and a half.
  Scheduler scheduler(model, test::makeEngineOptions(model, 16));
  test::Listener listener;
  std::vector<GenerationRequest> requests;
  for (RequestId id = 0; id < 3; ++id) {
    requests.push_back(test::makeRequest({3, static_cast<std::int32_t>(4 + id)}, 40));
    requests.back().options.eosTokenIds = {};
    scheduler.submit(id, requests.back());
  }
  listener.drain(scheduler);
  CHECK(scheduler.stats().preemptions > 0);
  CHECK(scheduler.stats().prefixHits > 0);
  for (RequestId id = 0; id < 3; ++id) {
    test::checkSameSequences(listener.results.at(id).sequences,
                             test::decodeAlone(model, requests[id]));
  }
}

}  // namespace
}  // namespace wgqa
