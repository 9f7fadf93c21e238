#include "ops/tokens/choose_rows.h"

#include <algorithm>
#include <limits>

#include "base/parallel.h"
#include "ops/tokens/random_draw.h"

namespace wgqa {
namespace {

constexpr std::int64_t kGrain = 16384;  // logits that are worth a thread

void takeDraws(std::span<const double> uniforms, std::span<const float> scores, RowScratch& scratch,
               std::span<ChosenToken> chosen) {
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    chosen[i].token = drawToken(scores, uniforms[i], scratch.weights);
  }
}

void takeCandidates(const RowChoice& choice, std::span<const float> scores, RowScratch& scratch,
                    std::span<ChosenToken> chosen) {
  if (choice.take == Take::drawnCandidates) {
    scratch.weights.assign(scores.begin(), scores.end());
    addGumbelNoise(scratch.weights, {choice.seed, choice.stream}, choice.noiseRow);
    scores = scratch.weights;
  }
  topTokens(scores, choice.offset, choice.count, scratch.ranked);
  for (std::size_t i = 0; i < scratch.ranked.size(); ++i) {
    chosen[i].token = scratch.ranked[i].token;
    chosen[i].rank = scratch.ranked[i].score;
  }
}

void takeTokens(const RowChoice& choice, std::span<const double> uniforms,
                std::span<const float> scores, RowScratch& scratch, std::span<ChosenToken> chosen) {
  switch (choice.take) {
    case Take::best:
      chosen[0].token = argmax(scores);
      break;
    case Take::draws:
      takeDraws(part(uniforms, choice.uniforms), scores, scratch, chosen);
      break;
    case Take::candidates:
    case Take::drawnCandidates:
      takeCandidates(choice, scores, scratch, chosen);
      break;
  }
}

/// log_softmax of a row; NaN for all of a row with NaN or +infinity, as in PyTorch.
void toLogProbs(std::span<float> scores, bool isSound, float logSum) {
  if (isSound) return addToRow(scores, -logSum);
  std::fill(scores.begin(), scores.end(), std::numeric_limits<float>::quiet_NaN());
}

void takeAlternatives(std::span<const float> unprocessed, float logSum, RowScratch& scratch,
                      std::span<ScoredToken> alternatives) {
  topTokens(unprocessed, -logSum, std::ssize(alternatives), scratch.ranked);
  const auto rest = std::copy(scratch.ranked.begin(), scratch.ranked.end(), alternatives.begin());
  std::fill(rest, alternatives.end(), ScoredToken{kForbidden, kNoToken});
}

void process(const HostRow& row, std::span<const std::int32_t> tokens, RowScratch& scratch) {
  const RowChoice& choice = *row.choice;
  if (row.edits != nullptr) row.edits->beforePenalty(row.logits, scratch);
  penaliseAndForbid(choice, tokens, row.logits, scratch);
  if (row.edits != nullptr) row.edits->beforeFilters(row.logits);
  filterScores(choice, row.logits, scratch);
  if (row.edits != nullptr) row.edits->afterFilters(row.logits, choice.minTokens, scratch);
}

}  // namespace

void chooseRow(const HostRow& row, const TokenChoices& choices, RowScratch& scratch,
               std::span<ChosenToken> chosen) {
  const RowChoice& choice = *row.choice;
  const std::span<float> scores = row.logits;
  const bool isSound = isUsable(scores);
  if (!isSound && (row.edits == nullptr || !row.edits->mendsInvalid())) {
    std::fill(chosen.begin(), chosen.end(), ChosenToken{.token = kUnusableRow});
    return;
  }
  std::fill(chosen.begin(), chosen.end(), ChosenToken{});
  const bool isUnchanged = row.unprocessed.data() == scores.data();
  const float logSum = choice.logSoftmaxFirst ? logSumExp(scores) : 0.0f;
  float rawLogSum = logSum;
  if (choice.logProbs || !row.alternatives.empty()) {
    if (!(choice.logSoftmaxFirst && isUnchanged)) rawLogSum = logSumExp(row.unprocessed);
    takeAlternatives(row.unprocessed, rawLogSum, scratch, row.alternatives);
    scratch.raw.assign(row.unprocessed.begin(), row.unprocessed.end());
  }
  if (choice.logSoftmaxFirst) toLogProbs(scores, isSound, logSum);
  process(row, choices.tokens, scratch);
  takeTokens(choice, choices.uniforms, scores, scratch, chosen);
  for (ChosenToken& taken : chosen) {
    if (taken.token < 0) continue;
    taken.score = scores[static_cast<std::size_t>(taken.token)] + choice.offset;
    if (choice.take == Take::best || choice.take == Take::draws) taken.rank = taken.score;
    if (choice.logProbs) {
      taken.logProb = scratch.raw[static_cast<std::size_t>(taken.token)] - rawLogSum;
    }
  }
}

void chooseRows(std::span<const HostRow> rows, const TokenChoices& choices,
                std::span<ChosenToken> chosen, std::vector<RowScratch>& scratch) {
  if (rows.empty()) return;
  const auto threads = static_cast<std::size_t>(threadCount());
  if (scratch.size() < threads) scratch.resize(threads);
  const auto vocab = static_cast<std::int64_t>(rows[0].logits.size());
  const std::int64_t grain = std::max<std::int64_t>(kGrain / vocab, 1);
  const auto count = static_cast<std::int64_t>(rows.size());
  parallelFor(count, grain, [&](std::int64_t begin, std::int64_t end, int thread) {
    for (std::int64_t i = begin; i < end; ++i) {
      const HostRow& row = rows[static_cast<std::size_t>(i)];
      chooseRow(row, choices, scratch[static_cast<std::size_t>(thread)],
                chosen.subspan(static_cast<std::size_t>(row.choice->firstResult),
                               static_cast<std::size_t>(row.choice->count)));
    }
  });
}

}  // namespace wgqa
