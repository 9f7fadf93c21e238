// Every bad option or source is refused with its field and the allowed values.
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "decode/scheduler.h"
#include "test/decode_fake_model.h"
#include "test/harness.h"

namespace wgqa {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct BadOption {
  std::string field;
  std::function<void(GenerationOptions&)> set;
};

const std::vector<BadOption>& badOptions() {
  using O = GenerationOptions;
  static const std::vector<BadOption> all = {
      {"maxNewTokens", [](O& o) { o.maxNewTokens = 0; }},
      {"maxNewTokens", [](O& o) { o.maxNewTokens = std::int64_t{1} << 40; }},
      {"minNewTokens", [](O& o) { o.minNewTokens = -1; }},
      {"minNewTokens", [](O& o) { o.minNewTokens = o.maxNewTokens + 1; }},
      {"numBeams", [](O& o) { o.numBeams = 0; }},
      {"numReturnSequences", [](O& o) { o.numReturnSequences = 0; }},
      {"numReturnSequences", [](O& o) { o.numReturnSequences = 2; }},
      {"numReturnSequences", [](O& o) { o.numBeams = 3, o.numReturnSequences = 4; }},
      {"lengthPenalty", [](O& o) { o.lengthPenalty = kNan; }},
      {"lengthPenalty", [](O& o) { o.lengthPenalty = kInfinity; }},
      {"noRepeatNgramSize", [](O& o) { o.noRepeatNgramSize = -1; }},
      {"repetitionPenalty", [](O& o) { o.repetitionPenalty = 0.0; }},
      {"repetitionPenalty", [](O& o) { o.repetitionPenalty = kNan; }},
      {"temperature", [](O& o) { o.temperature = 0.0; }},
      {"temperature", [](O& o) { o.temperature = -1.0; }},
      {"temperature", [](O& o) { o.temperature = kNan; }},
      {"temperature", [](O& o) { o.temperature = 1e-46; }},  // 0 in float32
      {"temperature", [](O& o) { o.temperature = 1e39; }},   // infinity in float32
      {"repetitionPenalty", [](O& o) { o.repetitionPenalty = 1e-46; }},
      {"repetitionPenalty", [](O& o) { o.repetitionPenalty = 1e39; }},
      {"eosTokenIds.length", [](O& o) { o.eosTokenIds.assign(257, 1); }},
      {"topK", [](O& o) { o.topK = -1; }},
      {"topP", [](O& o) { o.topP = 0.0; }},
      {"topP", [](O& o) { o.topP = 1.5; }},
      {"topP", [](O& o) { o.topP = kNan; }},
      {"minP", [](O& o) { o.minP = -0.1; }},
      {"minP", [](O& o) { o.minP = 1.1; }},
      {"eosTokenIds[1]",
       [](O& o) {
         o.eosTokenIds = {1, 24};
       }},
      {"decoderStartTokenId", [](O& o) { o.decoderStartTokenId = -1; }},
      {"padTokenId", [](O& o) { o.padTokenId = 24; }},
  };
  return all;
}

void checkField(const Error& error, ErrorCode code, const std::string& field) {
  CHECK_EQUAL(std::string(errorCodeName(error.code())), std::string(errorCodeName(code)));
  CHECK_EQUAL(error.field(), field);
  CHECK(!error.allowed().empty());
}

GenerationResult resultOf(const EngineOptions& options, test::FakeModel& model,
                          const GenerationRequest& request) {
  Scheduler scheduler(model, options);
  test::Listener listener;
  scheduler.submit(1, request);
  listener.drain(scheduler);
  return listener.results.at(1);
}

Error errorOf(const EngineOptions& options, test::FakeModel& model,
              const GenerationRequest& request) {
  const GenerationResult result = resultOf(options, model, request);
  CHECK(result.sequences.empty());
  return result.error.value_or(Error(ErrorCode::internal, "no error"));
}

WGQA_TEST(decodeBadOptionsNameTheirField) {
  test::FakeModel model({});
  const EngineOptions engineOptions = test::makeEngineOptions(model, 100);
  for (const BadOption& bad : badOptions()) {
    GenerationRequest request = test::makeRequest({3, 4}, 5);
    bad.set(request.options);
    checkField(errorOf(engineOptions, model, request), ErrorCode::invalidArgument, bad.field);
  }
  CHECK_EQUAL(model.steps, 0);
}

WGQA_TEST(decodeBadSourcesNameTheirToken) {
  test::FakeModel model({});
  const EngineOptions options = test::makeEngineOptions(model, 100);
  const auto check = [&](std::vector<std::int32_t> ids, const std::string& field) {
    const GenerationRequest request = test::makeRequest(std::move(ids), 5);
    checkField(errorOf(options, model, request), ErrorCode::invalidArgument, field);
  };
  check({}, "inputIds");
  check({3, 24}, "inputIds[1]");
  check({-1}, "inputIds[0]");
}

WGQA_TEST(decodeBadRequestsNameTheirField) {
  test::FakeModel model({});
  const EngineOptions options = test::makeEngineOptions(model, 100);
  GenerationRequest request = test::makeRequest({3}, 5);
  request.forcedPrefix = {2, 24};
  checkField(errorOf(options, model, request), ErrorCode::invalidArgument, "decoderInputIds[1]");
  request.forcedPrefix.clear();
  for (const double timeout : {-1.0, kNan, kInfinity}) {
    request.timeoutMilliseconds = timeout;
    checkField(errorOf(options, model, request), ErrorCode::invalidArgument, "timeout");
  }
}

WGQA_TEST(decodeRequestsThatNeverFitNameTheLimit) {
  test::FakeModel model({});
  // A block of 4 tokens: 256 bytes of self-attention, 128 of cross-attention.
  EngineOptions options = test::makeEngineOptions(model, 1);
  options.maxCacheBytes = 2048;
  const auto check = [&](std::size_t source, std::int64_t maxNewTokens, std::int64_t beams,
                         const std::string& field, const std::string& allowed) {
    GenerationRequest request =
        test::makeRequest(std::vector<std::int32_t>(source, 3), maxNewTokens);
    request.options.numBeams = beams;
    const Error error = errorOf(options, model, request);
    checkField(error, ErrorCode::outOfMemory, field);
    CHECK_EQUAL(error.allowed(), allowed);
  };
  check(57, 1, 1, "inputIds", "at most 56 tokens");
  check(4, 29, 1, "maxNewTokens", "at most 28");
  check(4, 1, 8, "numBeams", "at most 7");
  // What just fits runs.
  GenerationRequest longest = test::makeRequest(std::vector<std::int32_t>(56, 3), 4);
  longest.options.eosTokenIds = {};
  CHECK_EQUAL(resultOf(options, model, longest).sequences.size(), 1u);
  longest.options.maxNewTokens = 1;
  longest.forcedPrefix = {5, 6, 7};
  CHECK_EQUAL(resultOf(options, model, longest).sequences.size(), 1u);
  longest.forcedPrefix.push_back(8);
  checkField(errorOf(options, model, longest), ErrorCode::outOfMemory, "decoderInputIds");
  longest.forcedPrefix.pop_back();
  longest.options.maxNewTokens = 2;
  checkField(errorOf(options, model, longest), ErrorCode::outOfMemory, "maxNewTokens");
}

WGQA_TEST(decodeMoreSequencesThanTheBatchIsAnError) {
  test::FakeModel model({});
  EngineOptions options = test::makeEngineOptions(model, 100);
  options.maxBatchSize = 3;
  GenerationRequest request = test::makeRequest({3}, 5);
  request.options.numBeams = 4;
  checkField(errorOf(options, model, request), ErrorCode::invalidArgument, "numBeams");
  request.options.numBeams = 1;
  request.options.doSample = true;
  request.options.numReturnSequences = 4;
  checkField(errorOf(options, model, request), ErrorCode::invalidArgument, "numReturnSequences");
}

WGQA_TEST(decodeBadEngineOptionsAreRefused) {
  test::FakeModel model({});
  const auto check = [&](const std::string& field, const auto& set) {
    EngineOptions options = test::makeEngineOptions(model, 10);
    set(options);
    try {
      const Scheduler scheduler(model, options);
      test::fail("accepted a bad " + field);
    } catch (const Error& error) {
      checkField(error, ErrorCode::invalidArgument, field);
    }
  };
  check("blockTokens", [](EngineOptions& o) { o.blockTokens = 0; });
  check("kvCache.maxBytes", [](EngineOptions& o) { o.maxCacheBytes = 100; });
  check("kvCache.maxBytes", [](EngineOptions& o) { o.maxCacheBytes = -1; });
  check("cacheDtype", [](EngineOptions& o) { o.cacheDtype = DType::int32; });
  check("maxBatchSize", [](EngineOptions& o) { o.maxBatchSize = 0; });
  check("maxBatchSize", [](EngineOptions& o) { o.maxBatchSize = 65537; });
  check("maxBatchTokens", [](EngineOptions& o) { o.maxBatchTokens = 0; });
}

}  // namespace
}  // namespace wgqa
