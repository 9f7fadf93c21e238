#include "decode/logits_processors.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace wgqa {
namespace {

constexpr std::size_t kScoreBuckets = 1024;
constexpr float kBucketsPerNat = 32.0f;
constexpr ScoredToken kAfterAllTokens{kForbidden, std::numeric_limits<std::int32_t>::max()};

void forbidBelow(std::span<float> scores, float threshold) {
  for (float& score : scores) score = score < threshold ? kForbidden : score;
}

/// The k-th best allowed score; -infinity if there are fewer.
float kthBest(std::span<const float> scores, std::int64_t k, RowScratch& scratch) {
  topTokens(scores, 0.0f, k, scratch.ranked);
  const bool enough = static_cast<std::int64_t>(scratch.ranked.size()) >= k;
  return enough ? scratch.ranked.back().score : kForbidden;
}

/// Which of kScoreBuckets a score falls into; better scores come first, forbidden ones last.
std::size_t bucketOf(float score, float max) {
  const float place = (max - score) * kBucketsPerNat;
  constexpr auto kLast = static_cast<float>(kScoreBuckets - 1);
  return place < kLast ? static_cast<std::size_t>(place) : kScoreBuckets - 1;
}

/// The last of the best tokens that are needed for probability p. Only the tokens of the bucket in
/// which the sum passes p are sorted.
ScoredToken lastOfTopP(std::span<const float> scores, double p, RowScratch& scratch) {
  const float max = rowMax(scores);
  const double wanted = p * softmaxWeights(scores, scratch.weights);
  scratch.bucketMass.assign(kScoreBuckets, 0.0);
  for (std::size_t token = 0; token < scores.size(); ++token) {
    scratch.bucketMass[bucketOf(scores[token], max)] += scratch.weights[token];
  }
  std::size_t bucket = 0;
  double mass = 0.0;
  while (bucket + 1 < kScoreBuckets && mass + scratch.bucketMass[bucket] < wanted) {
    mass += scratch.bucketMass[bucket++];
  }
  scratch.ranked.clear();
  for (std::size_t token = 0; token < scores.size(); ++token) {
    if (bucketOf(scores[token], max) != bucket) continue;
    scratch.ranked.push_back({scores[token], static_cast<std::int32_t>(token)});
  }
  std::sort(scratch.ranked.begin(), scratch.ranked.end(), ranksBefore);
  for (const ScoredToken& token : scratch.ranked) {
    mass += scratch.weights[token.token];
    if (mass >= wanted) return token;
  }
  return kAfterAllTokens;  // p is so close to 1 that rounding decides: every token stays
}

/// Samples of a beam must be able to end and to go on, so beam search keeps more than one token.
std::int64_t minTokensToKeep(const GenerationOptions& options) {
  return options.numBeams > 1 ? static_cast<std::int64_t>(options.eosTokenIds.size()) + 1 : 1;
}

}  // namespace

void applyRepetitionPenalty(std::span<float> scores, std::span<const std::int32_t> history,
                            float penalty, RowScratch& scratch) {
  scratch.seen.resize(scores.size());
  for (const std::int32_t token : history) {
    if (scratch.seen[token]) continue;
    scratch.seen[token] = true;
    float& score = scores[token];
    score = score < 0.0f ? score * penalty : score / penalty;
  }
  for (const std::int32_t token : history) scratch.seen[token] = false;
}

void forbidRepeatedNgrams(std::span<float> scores, std::span<const std::int32_t> history,
                          std::int64_t ngramSize) {
  const auto length = static_cast<std::int64_t>(history.size());
  if (length + 1 < ngramSize) return;
  const std::int64_t prefix = ngramSize - 1;
  const auto newest = history.last(static_cast<std::size_t>(prefix));
  for (std::int64_t end = prefix; end < length; ++end) {
    if (std::equal(newest.begin(), newest.end(), history.begin() + (end - prefix))) {
      scores[history[end]] = kForbidden;
    }
  }
}

void forbidTokens(std::span<float> scores, std::span<const std::int32_t> tokens) {
  for (const std::int32_t token : tokens) scores[token] = kForbidden;
}

void applyTemperature(std::span<float> scores, float temperature) {
  for (float& score : scores) score /= temperature;
}

void keepTopK(std::span<float> scores, std::int64_t k, RowScratch& scratch) {
  if (k >= static_cast<std::int64_t>(scores.size())) return;
  forbidBelow(scores, kthBest(scores, k, scratch));
}

void keepTopP(std::span<float> scores, double p, std::int64_t minTokens, RowScratch& scratch) {
  if (rowMax(scores) == kForbidden) return;
  ScoredToken last = lastOfTopP(scores, p, scratch);
  topTokens(scores, 0.0f, minTokens, scratch.ranked);
  if (ranksBefore(last, scratch.ranked.back())) last = scratch.ranked.back();
  for (std::size_t token = 0; token < scores.size(); ++token) {
    if (ranksBefore(last, {scores[token], static_cast<std::int32_t>(token)})) {
      scores[token] = kForbidden;
    }
  }
}

void keepMinP(std::span<float> scores, double minP, std::int64_t minTokens, RowScratch& scratch) {
  const float threshold = rowMax(scores) + static_cast<float>(std::log(minP));
  forbidBelow(scores, std::min(threshold, kthBest(scores, minTokens, scratch)));
}

bool processesScores(const GenerationOptions& options) {
  return options.repetitionPenalty != 1.0 || options.noRepeatNgramSize > 0 ||
         options.minNewTokens > 0 || options.doSample;
}

void processScores(const GenerationOptions& options, std::span<const std::int32_t> history,
                   std::int64_t promptTokens, std::span<float> scores, RowScratch& scratch) {
  const std::int64_t generated = static_cast<std::int64_t>(history.size()) - promptTokens;
  if (options.repetitionPenalty != 1.0) {
    applyRepetitionPenalty(scores, history, static_cast<float>(options.repetitionPenalty), scratch);
  }
  if (options.noRepeatNgramSize > 0) {
    forbidRepeatedNgrams(scores, history, options.noRepeatNgramSize);
  }
  if (generated < options.minNewTokens) forbidTokens(scores, options.eosTokenIds);
  if (!options.doSample) return;
  const std::int64_t minTokens = minTokensToKeep(options);
  if (options.temperature != 1.0) {
    applyTemperature(scores, static_cast<float>(options.temperature));
  }
  if (options.topK > 0) keepTopK(scores, std::max(options.topK, minTokens), scratch);
  if (options.topP < 1.0) keepTopP(scores, options.topP, minTokens, scratch);
  if (options.minP > 0.0) keepMinP(scores, options.minP, minTokens, scratch);
}

}  // namespace wgqa
