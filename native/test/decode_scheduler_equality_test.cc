// What a request generates depends on nothing but the request: not on who else is there, who comes,
// leaves or waits, how much memory there is, or how often its blocks are taken away.
#include <random>
#include <string>
#include <vector>

#include "decode/scheduler.h"
#include "model/t5_convert.h"
#include "model_fixture.h"
#include "test/decode_crowd.h"
#include "test/decode_fake_model.h"
#include "test/harness.h"

namespace wgqa {
namespace {

constexpr int kRequests = 64;
constexpr std::int64_t kAloneBytes = std::int64_t{1} << 20;  // more than any request needs

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
    test::FakeModel model({.selfKvHeads = std::vector<std::int64_t>(2, 1 + seed % 3),
                           .crossKvHeads = std::vector<std::int64_t>(2, 1 + seed % 2),
                           .seed = seed});
    // From room for about one request at a time to room for all.
    test::Crowd crowd(model, seed, randomOptions(model, random, 28 + random() % 400));
    for (int i = 0; i < kRequests; ++i) crowd.add(test::randomRequest(random));
    model.beforeStep = model.beforeSlice = [&] { crowd.scheduler().checkInvariant(); };
    crowd.run(seed % 2 == 1);
    model.beforeStep = model.beforeSlice = nullptr;
    crowd.check(kAloneBytes);
    if (test::failuresOfRunningTest() > 0) return test::note("seed " + std::to_string(seed));
  }
}

WGQA_TEST(schedulerAnyRequestAloneEqualsItAmongOthersWhereLayersDiffer) {
  for (std::uint32_t seed = 0; seed < 10; ++seed) {
    std::mt19937 random(seed);
    test::FakeModel model({.selfKvHeads = {4, 1, 2}, .crossKvHeads = {1, 3, 1}, .seed = seed});
    const EngineOptions options = randomOptions(model, random, 28 + random() % 100);
    test::Crowd crowd(model, seed, options);
    for (int i = 0; i < kRequests; ++i) crowd.add(test::randomRequest(random));
    model.beforeStep = model.beforeSlice = [&] { crowd.scheduler().checkInvariant(); };
    crowd.run(seed % 2 == 1);
    model.beforeStep = model.beforeSlice = nullptr;
    crowd.check(kAloneBytes);
    // K and V of two dimensions, in all layers.
    const auto elementBytes = static_cast<std::int64_t>(bytesOf(options.cacheDtype));
    const EngineStats stats = crowd.scheduler().stats();
    CHECK_EQUAL(stats.selfBytesPerToken, 2 * (4 + 1 + 2) * 2 * elementBytes);
    CHECK_EQUAL(stats.crossBytesPerToken, 2 * (1 + 3 + 1) * 2 * elementBytes);
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
    test::Crowd crowd(model, seed, options);
    for (int i = 0; i < kRequests; ++i) {
      GenerationRequest request = test::randomRequest(random);
      request.options.maxNewTokens = 18;
      request.options.eosTokenIds = {};
      crowd.add(std::move(request));
    }
    crowd.run(seed % 2 == 1);
    crowd.check(kAloneBytes);
    preemptions += crowd.scheduler().stats().preemptions;
    if (test::failuresOfRunningTest() > 0) return test::note("seed " + std::to_string(seed));
  }
  CHECK(preemptions > 20 * kRequests / 4);
}

/// The real model on the real kernels: no sum may depend on the other rows of a step.
WGQA_TEST(schedulerT5AloneEqualsT5AmongOthers) {
  for (const DType dtype : {DType::float32, DType::bfloat16}) {
    const auto base = test::smallModel(true, makeCpuOps(), dtype);
    ConvertOptions convert;
    convert.kvHeads = 2;
    const auto grouped = convertModel(*base, convert, makeCpuOps());
    for (T5Model* model : {base.get(), grouped.get()}) {
      const auto encoderDecoder = model->makeEncoderDecoder(makeCpuOps());
      for (std::uint32_t seed = 0; seed < 4; ++seed) {
        std::mt19937 random(seed);
        EngineOptions options;
        options.cacheDtype = dtype;
        options.maxBatchTokens = 1 + random() % 40;
        const std::int64_t blockBytes = test::kvElementsPerToken(encoderDecoder->cacheShape()) *
                                        options.blockTokens *
                                        static_cast<std::int64_t>(bytesOf(dtype));
        // From four sequences on, each two blocks of 16 tokens and one for its source.
        options.maxCacheBytes = (seed % 2 == 0 ? 8 : 80) * blockBytes;
        test::Crowd crowd(*encoderDecoder, seed, options);
        for (int i = 0; i < kRequests; ++i) crowd.add(test::randomRequest(random));
        crowd.run(true);
        crowd.check(kAloneBytes);
        if (test::failuresOfRunningTest() > 0) return test::note("seed " + std::to_string(seed));
      }
    }
  }
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
