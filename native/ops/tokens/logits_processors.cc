#include "ops/tokens/logits_processors.h"

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

}  // namespace

void applyRepetitionPenalty(std::span<float> scores, std::span<const std::int32_t> tokens,
                            float penalty, RowScratch& scratch) {
  scratch.seen.resize(scores.size());
  for (const std::int32_t token : tokens) {
    if (scratch.seen[token]) continue;
    scratch.seen[token] = true;
    float& score = scores[token];
    score = score < 0.0f ? score * penalty : score / penalty;
  }
  for (const std::int32_t token : tokens) scratch.seen[token] = false;
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

void penaliseAndForbid(const RowChoice& choice, std::span<const std::int32_t> tokens,
                       std::span<float> scores, RowScratch& scratch) {
  if (choice.repetitionPenalty != 1.0f) {
    applyRepetitionPenalty(scores, part(tokens, choice.penalised), choice.repetitionPenalty,
                           scratch);
  }
  forbidTokens(scores, part(tokens, choice.forbidden));
}

void filterScores(const RowChoice& choice, std::span<float> scores, RowScratch& scratch) {
  if (choice.temperature != 1.0f) applyTemperature(scores, choice.temperature);
  if (choice.topK > 0) keepTopK(scores, std::max(choice.topK, choice.minTokens), scratch);
  if (choice.topP < 1.0) keepTopP(scores, choice.topP, choice.minTokens, scratch);
  if (choice.minP > 0.0) keepMinP(scores, choice.minP, choice.minTokens, scratch);
}

void processScores(const RowChoice& choice, std::span<const std::int32_t> tokens,
                   std::span<float> scores, RowScratch& scratch) {
  penaliseAndForbid(choice, tokens, scores, scratch);
  filterScores(choice, scores, scratch);
}

}  // namespace wgqa
