#include "decode/request_edits.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "decode/processors.h"
#include "ops/tokens/row_math.h"

namespace wgqa {
namespace {

constexpr float kLargest = std::numeric_limits<float>::max();

/// Forbids every token but these, which score 0.
void force(std::span<float> scores, std::span<const std::int32_t> tokens) {
  std::fill(scores.begin(), scores.end(), kForbidden);
  for (const std::int32_t token : tokens) scores[token] = 0.0f;
}

double entropyOf(std::span<const float> scores, float logSum) {
  double entropy = 0.0;
  for (const float score : scores) {
    const float logProb = score - logSum;
    const float probability = std::exp(logProb);
    if (probability > 0.0f) entropy -= static_cast<double>(probability) * logProb;
  }
  return entropy;
}

/// Forbids tokens below a probability, but not the `minTokens` best and what ties with the last.
void keepProbable(std::span<float> scores, double least, std::int64_t minTokens,
                  RowScratch& scratch) {
  const float logSum = logSumExp(scores);
  topTokens(scores, 0.0f, minTokens, scratch.ranked);
  const bool enough = std::ssize(scratch.ranked) >= minTokens;
  const float keptScore = enough ? scratch.ranked.back().score : kForbidden;
  for (float& score : scores) {
    const bool improbable = std::exp(score - logSum) < static_cast<float>(least);
    if (improbable && score < keptScore) score = kForbidden;
  }
}

}  // namespace

void keepTypical(std::span<float> scores, double mass, std::int64_t minTokens,
                 RowScratch& scratch) {
  if (rowMax(scores) == kForbidden) return;
  const float logSum = logSumExp(scores);
  const auto entropy = static_cast<float>(entropyOf(scores, logSum));
  // How far each token's information is from the entropy; the nearest come first.
  scratch.ranked.clear();
  for (std::size_t token = 0; token < scores.size(); ++token) {
    const float distance = std::abs((logSum - scores[token]) - entropy);
    scratch.ranked.push_back({distance, static_cast<std::int32_t>(token)});
  }
  std::sort(scratch.ranked.begin(), scratch.ranked.end(),
            [](const ScoredToken& a, const ScoredToken& b) {
              return a.score < b.score || (a.score == b.score && a.token < b.token);
            });
  double sum = 0.0;
  std::size_t last = 0;
  for (; last + 1 < scratch.ranked.size(); ++last) {
    sum += std::exp(scores[scratch.ranked[last].token] - logSum);
    if (sum >= mass) break;
  }
  const float farthest = scratch.ranked[last].score;
  for (std::size_t i = static_cast<std::size_t>(minTokens); i < scratch.ranked.size(); ++i) {
    const auto& [distance, token] = scratch.ranked[i];
    if (distance > farthest) scores[token] = kForbidden;
  }
}

void keepEpsilon(std::span<float> scores, double epsilon, std::int64_t minTokens,
                 RowScratch& scratch) {
  if (rowMax(scores) == kForbidden) return;
  keepProbable(scores, epsilon, minTokens, scratch);
}

void keepEta(std::span<float> scores, double eta, std::int64_t minTokens, RowScratch& scratch) {
  if (rowMax(scores) == kForbidden) return;
  const double entropy = entropyOf(scores, logSumExp(scores));
  keepProbable(scores, std::min(eta, std::sqrt(eta) * std::exp(-entropy)), minTokens, scratch);
}

void removeInvalid(std::span<float> scores) {
  for (float& score : scores) {
    score = std::isnan(score) ? 0.0f : std::clamp(score, -kLargest, kLargest);
  }
}

// ---------------------------------------------------------------------------- the edits

void RequestEdits::beforePenalty(std::span<float> scores, RowScratch& scratch) const {
  addBiases(scores);
  if (edits().encoderRepetitionPenalty != 1.0) {
    const double penalty = 1.0 / edits().encoderRepetitionPenalty;
    applyRepetitionPenalty(scores, source_, static_cast<float>(penalty), scratch);
  }
}

void RequestEdits::beforeFilters(std::span<float> scores) const {
  forbidEncoderNgrams(scores);
  forbidBadWords(scores);
  forceEnds(scores);
  if (edits().removeInvalidValues) removeInvalid(scores);
  raiseEndTokens(scores);
  suppress(scores);
}

void RequestEdits::afterFilters(std::span<float> scores, std::int64_t minTokens,
                                RowScratch& scratch) const {
  if (options_.doSample) {
    if (edits().typicalP < 1.0) keepTypical(scores, edits().typicalP, minTokens, scratch);
    if (edits().epsilonCutoff > 0.0) {
      keepEpsilon(scores, edits().epsilonCutoff, minTokens, scratch);
    }
    if (edits().etaCutoff > 0.0) keepEta(scores, edits().etaCutoff, minTokens, scratch);
  }
  if (edits().renormalizeLogits && rowMax(scores) > kForbidden) {
    addToRow(scores, -logSumExp(scores));
  }
}

bool RequestEdits::leadsTo(std::span<const std::int32_t> sequence) const {
  // transformers passes over a sequence that is longer than the history, although one token of it
  // is still to come.
  if (sequence.size() > history_.size()) return false;
  const auto prefix = sequence.first(sequence.size() - 1);
  return std::equal(prefix.begin(), prefix.end(), history_.last(prefix.size()).begin());
}

void RequestEdits::addBiases(std::span<float> scores) const {
  for (std::size_t i = 0; i < edits().biased.size(); ++i) {
    const auto sequence = edits().biased[i];
    if (leadsTo(sequence)) scores[sequence.back()] += edits().biases[i];
  }
}

void RequestEdits::forbidEncoderNgrams(std::span<float> scores) const {
  if (edits().encoderNoRepeatNgramSize == 0) return;
  std::vector<std::int32_t> tokens;
  addContinuations(history_, source_, edits().encoderNoRepeatNgramSize, tokens);
  forbidTokens(scores, tokens);
}

void RequestEdits::forbidBadWords(std::span<float> scores) const {
  for (std::size_t i = 0; i < edits().badWords.size(); ++i) {
    const auto sequence = edits().badWords[i];
    // An end token alone is no bad word.
    if (sequence.size() == 1 && options_.isEos(sequence.front())) continue;
    if (leadsTo(sequence)) scores[sequence.back()] = kForbidden;
  }
}

void RequestEdits::forceEnds(std::span<float> scores) const {
  if (edits().forcedBosTokenId && length() == 1) {
    force(scores, {&*edits().forcedBosTokenId, 1});
  }
  if (!edits().forcedEosTokenIds.empty() && length() == maxLength() - 1) {
    force(scores, edits().forcedEosTokenIds);
  }
}

void RequestEdits::raiseEndTokens(std::span<float> scores) const {
  if (!edits().exponentialDecay) return;
  const auto& [start, factor] = *edits().exponentialDecay;
  const std::int64_t beyond = length() - (promptTokens_ + start);
  if (beyond <= 0) return;
  const double growth = std::pow(factor, static_cast<double>(beyond)) - 1.0;
  for (const std::int32_t token : options_.eosTokenIds) {
    float& score = scores[token];
    if (score == kForbidden) continue;
    // A penalty beyond float32 would be infinity.
    score = std::clamp(score + std::abs(score) * static_cast<float>(growth), -kLargest, kLargest);
  }
}

void RequestEdits::suppress(std::span<float> scores) const {
  forbidTokens(scores, edits().suppressTokens);
  // The first token that is free: behind a forced one.
  const bool isForced = promptTokens_ == 1 && edits().forcedBosTokenId.has_value();
  if (length() == promptTokens_ + (isForced ? 1 : 0)) {
    forbidTokens(scores, edits().beginSuppressTokens);
  }
}

}  // namespace wgqa
