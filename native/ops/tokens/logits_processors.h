// What changes a row of scores before a token is chosen, in the order and with the meaning of
// Hugging Face's transformers (generation/logits_process.py).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ops/row_choice.h"
#include "ops/tokens/row_math.h"

namespace wgqa {

/// Reused memory of the functions below; one per thread.
struct RowScratch {
  std::vector<float> raw;      // the row before processing
  std::vector<float> weights;  // softmax weights, or perturbed scores
  std::vector<ScoredToken> ranked;
  std::vector<double> bucketMass;
  std::vector<bool> seen;  // [vocab], all false between calls
};

/// Scores of these tokens are divided by `penalty` if positive, multiplied if negative: each token
/// once.
void applyRepetitionPenalty(std::span<float> scores, std::span<const std::int32_t> tokens,
                            float penalty, RowScratch& scratch);

void forbidTokens(std::span<float> scores, std::span<const std::int32_t> tokens);

void applyTemperature(std::span<float> scores, float temperature);

/// Keeps the k best scores and what ties with the last of them.
void keepTopK(std::span<float> scores, std::int64_t k, RowScratch& scratch);

/// Keeps the smallest set of best tokens whose probabilities sum to at least p, and at least
/// `minTokens`.
void keepTopP(std::span<float> scores, double p, std::int64_t minTokens, RowScratch& scratch);

/// Keeps tokens at least `minP` times as probable as the best one, and at least `minTokens`.
void keepMinP(std::span<float> scores, double minP, std::int64_t minTokens, RowScratch& scratch);

/// The part of a list that a range names.
template <typename T>
std::span<const T> part(std::span<const T> list, const ListRange& range) {
  return list.subspan(static_cast<std::size_t>(range.begin),
                      static_cast<std::size_t>(range.end - range.begin));
}

/// The repetition penalty and the forbidden tokens of `choice`; its ranges are those of `tokens`.
void penaliseAndForbid(const RowChoice& choice, std::span<const std::int32_t> tokens,
                       std::span<float> scores, RowScratch& scratch);

/// Temperature, top-k, top-p and min-p of `choice`.
void filterScores(const RowChoice& choice, std::span<float> scores, RowScratch& scratch);

/// Both, one after the other.
void processScores(const RowChoice& choice, std::span<const std::int32_t> tokens,
                   std::span<float> scores, RowScratch& scratch);

}  // namespace wgqa
