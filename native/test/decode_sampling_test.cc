// Sampling: the distribution that is drawn from, and what a draw depends on.
#include <cmath>
#include <cstdint>
#include <set>
#include <vector>

#include "decode/random_draw.h"
#include "ops/tokens/random_draw.h"
#include "test/decode_fake_model.h"
#include "test/harness.h"

namespace wgqa {
namespace {

// The 99.9 % quantile of chi-square, Wilson and Hilferty's approximation: a fixed seed passes or
// fails for good, and a wrong distribution exceeds this by far at these sample counts.
double chiSquareLimit(double degrees) {
  constexpr double kNormalQuantile = 3.09;
  const double spread = 2.0 / (9.0 * degrees);
  return degrees * std::pow(1.0 - spread + kNormalQuantile * std::sqrt(spread), 3.0);
}

std::vector<double> softmax(const std::vector<float>& logits) {
  double sum = 0.0;
  std::vector<double> probabilities;
  for (const float logit : logits) {
    probabilities.push_back(std::exp(static_cast<double>(logit)));
    sum += probabilities.back();
  }
  for (double& p : probabilities) p /= sum;
  return probabilities;
}

void checkDistribution(const std::vector<std::int64_t>& counts,
                       const std::vector<double>& probabilities) {
  std::int64_t draws = 0;
  for (const std::int64_t count : counts) draws += count;
  double statistic = 0.0;
  double degrees = -1.0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const double expected = probabilities[i] * static_cast<double>(draws);
    if (expected == 0.0) {
      CHECK_EQUAL(counts[i], 0);
      continue;
    }
    const double difference = static_cast<double>(counts[i]) - expected;
    statistic += difference * difference / expected;
    degrees += 1.0;
  }
  CHECK(statistic < chiSquareLimit(degrees));
}

WGQA_TEST(decodeDrawsFollowTheSoftmax) {
  const std::vector<float> scores = {0.5f, kForbidden, -1.0f, 2.0f, 0.0f, kForbidden, -2.0f};
  std::vector<std::int64_t> counts(scores.size(), 0);
  std::vector<float> weights;
  for (std::uint32_t sample = 0; sample < 20000; ++sample) {
    const double uniform = sampleUniform(/*seed=*/7, sample, /*position=*/sample % 5);
    ++counts[drawToken(scores, uniform, weights)];
  }
  checkDistribution(counts, softmax(scores));
}

WGQA_TEST(decodeDrawsCoverTheEndsOfTheInterval) {
  std::vector<float> weights;
  const std::vector<float> scores = {kForbidden, 0.0f, 0.0f, kForbidden};
  CHECK_EQUAL(drawToken(scores, 0.0, weights), 1);
  CHECK_EQUAL(drawToken(scores, 1.0 - 0x1.0p-53, weights), 2);
  CHECK_EQUAL(drawToken(std::vector<float>(3, kForbidden), 0.5, weights), -1);
}

WGQA_TEST(decodeGumbelMaximumFollowsTheSoftmax) {
  const std::vector<float> scores = {0.5f, -1.0f, kForbidden, 2.0f, 0.0f, 0.25f};
  std::vector<std::int64_t> counts(scores.size(), 0);
  for (std::uint32_t beam = 0; beam < 20000; ++beam) {
    std::vector<float> perturbed = scores;
    addGumbelNoise(perturbed, {.seed = 11, .stream = kBeamStream + 2}, beam);
    ++counts[argmax(perturbed)];
  }
  checkDistribution(counts, softmax(scores));
}

GenerationRequest samplingRequest(std::int64_t samples, std::int64_t maxNewTokens) {
  GenerationRequest request = test::makeRequest({3, 5, 8}, maxNewTokens);
  request.options.doSample = true;
  request.options.numReturnSequences = samples;
  request.options.topK = 0;
  request.options.seed = 42;
  return request;
}

/// With a place for each sample.
std::vector<GeneratedSequence> sample(test::FakeModel& model, const GenerationRequest& request) {
  const std::int64_t samples = request.options.numReturnSequences;
  EngineOptions options = test::makeEngineOptions(model, 4 * samples);
  options.maxBatchSize = samples;
  return test::decodeAlone(model, options, request, {});
}

WGQA_TEST(decodeSamplesFollowTheModelAtEachPosition) {
  constexpr std::int64_t kSamples = 20000;
  test::FakeModel model({.vocab = 12, .spread = 1.5f});
  const GenerationRequest request = samplingRequest(kSamples, 2);
  const auto sequences = sample(model, request);
  std::vector<std::int64_t> first(12, 0);
  std::vector<std::int64_t> afterFive(12, 0);
  for (const GeneratedSequence& sequence : sequences) {
    ++first[sequence.tokenIds[0]];
    if (sequence.tokenIds[0] == 5) ++afterFive[sequence.tokenIds[1]];
  }
  const std::vector<std::int32_t> start = {0};
  const std::vector<std::int32_t> five = {0, 5};
  checkDistribution(first, softmax(model.logitsOf(request.inputIds, start)));
  checkDistribution(afterFive, softmax(model.logitsOf(request.inputIds, five)));
}

WGQA_TEST(decodeSamplingHonoursTemperatureAndTopK) {
  constexpr std::int64_t kSamples = 20000;
  test::FakeModel model({.vocab = 12, .spread = 1.5f});
  GenerationRequest request = samplingRequest(kSamples, 1);
  request.options.temperature = 0.5;
  request.options.topK = 4;
  std::vector<std::int64_t> counts(12, 0);
  for (const auto& sequence : sample(model, request)) ++counts[sequence.tokenIds[0]];
  const std::vector<std::int32_t> start = {0};
  std::vector<float> logits = model.logitsOf(request.inputIds, start);
  std::vector<ScoredToken> best;
  topTokens(logits, 0.0f, 4, best);
  std::vector<float> expected(12, kForbidden);
  for (const ScoredToken& token : best) expected[token.token] = token.score / 0.5f;
  checkDistribution(counts, softmax(expected));
}

WGQA_TEST(decodeASampleDoesNotDependOnTheOthers) {
  test::FakeModel model({.spread = 1.0f});
  const GenerationRequest eight = samplingRequest(8, 10);
  const GenerationRequest three = samplingRequest(3, 10);
  const auto of8 = sample(model, eight);
  const auto of3 = sample(model, three);
  test::checkSameSequences(of3, std::span(of8).first(3));
  std::set<std::vector<std::int32_t>> different;
  for (const auto& sequence : of8) different.insert(sequence.tokenIds);
  CHECK_EQUAL(different.size(), 8u);
  GenerationRequest otherSeed = three;
  otherSeed.options.seed = 43;
  CHECK(sample(model, otherSeed)[0].tokenIds != of3[0].tokenIds);
}

}  // namespace
}  // namespace wgqa
