// Forced prefixes: what counts them and what does not, in every strategy.
#include <algorithm>
#include <cmath>
#include <vector>

#include "test/decode_fake_model.h"
#include "test/harness.h"

namespace wgqa {
namespace {

using Tokens = std::vector<std::int32_t>;

GenerationRequest forced(const Tokens& prefix, std::int64_t maxNewTokens) {
  GenerationRequest request = test::makeRequest({3, 4}, maxNewTokens);
  request.forcedPrefix = prefix;
  return request;
}

WGQA_TEST(forcedPrefixIsReturnedAndNotCounted) {
  for (const std::int64_t beams : {1, 3}) {
    test::FakeModel model({});
    GenerationRequest request = forced({5, 6, 7}, 4);
    request.options.numBeams = beams;
    request.options.eosTokenIds = {};
    request.options.logProbs = true;
    const auto sequence = test::decodeAlone(model, request)[0];
    CHECK_EQUAL(sequence.tokenIds.size(), 7u);
    CHECK(std::ranges::equal(std::span(sequence.tokenIds).first(3), request.forcedPrefix));
    CHECK_EQUAL(sequence.logProbs.size(), 4u);
  }
}

WGQA_TEST(forcedPrefixDoesNotLiftTheLeastLength) {
  test::FakeModel model({.endBias = 50.0f});  // the end token is what greedy decoding takes
  GenerationRequest request = forced({5, 6, 7}, 9);
  CHECK_EQUAL(test::decodeAlone(model, request)[0].tokenIds.size(), 4u);
  request.options.minNewTokens = 2;
  CHECK_EQUAL(test::decodeAlone(model, request)[0].tokenIds.size(), 6u);
}

WGQA_TEST(forcedPrefixIsSeenByPenalties) {
  test::FakeModel model({.vocab = 6});
  GenerationRequest request = forced({2, 3, 4}, 6);
  request.options.eosTokenIds = {};
  request.options.noRepeatNgramSize = 1;
  // Of six tokens, the start token and three forced ones are taken.
  Tokens rest = test::decodeAlone(model, request)[0].tokenIds;
  rest.erase(rest.begin(), rest.begin() + 3);
  std::ranges::sort(rest);
  CHECK((rest == Tokens{1, 5}));
}

/// Hugging Face: the sum over the generated tokens by their number; the prefix is part of neither.
WGQA_TEST(forcedPrefixDoesNotCountInTheScoreOfABeam) {
  test::FakeModel model({});
  GenerationRequest request = forced({5, 6, 7}, 5);
  request.options.numBeams = 3;
  request.options.numReturnSequences = 3;
  request.options.logProbs = true;
  request.options.lengthPenalty = 0.7;
  for (const GeneratedSequence& sequence : test::decodeAlone(model, request)) {
    double sum = 0.0;
    for (const float logProb : sequence.logProbs) sum += logProb;
    const auto generated = static_cast<double>(sequence.tokenIds.size() - 3);
    CHECK_NEAR(*sequence.score, sum / std::pow(generated, 0.7), 1e-5);
  }
}

/// A draw depends on the seed and on how many tokens were drawn before it.
WGQA_TEST(forcedPrefixDoesNotShiftTheDraws) {
  test::FakeModel model({.spread = 0.0f});  // a flat distribution: only the draws decide
  GenerationRequest request = forced({}, 6);
  request.options.eosTokenIds = {};
  request.options.doSample = true;
  request.options.numReturnSequences = 2;
  const auto plain = test::decodeAlone(model, request);
  request.forcedPrefix = {5, 6, 7};
  const auto shifted = test::decodeAlone(model, request);
  for (std::size_t i = 0; i < plain.size(); ++i) {
    CHECK(std::ranges::equal(std::span(shifted[i].tokenIds).subspan(3), plain[i].tokenIds));
  }
}

}  // namespace
}  // namespace wgqa
