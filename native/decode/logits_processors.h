// What changes a row of scores before a token is chosen, in the order and with the meaning of
// Hugging Face's transformers (generation/logits_process.py). Greedy decoding and sampling process
// logits, beam search processes log-probabilities.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "decode/generation_options.h"
#include "decode/row_math.h"

namespace wgqa {

/// Reused memory of the functions below; one per thread.
struct RowScratch {
  std::vector<float> raw;      // the row before processing
  std::vector<float> weights;  // softmax weights, or perturbed scores
  std::vector<ScoredToken> ranked;
  std::vector<double> bucketMass;
  std::vector<bool> seen;  // [vocab], all false between calls
};

/// Scores of tokens in the history are divided by `penalty` if positive, multiplied if negative:
/// each token once.
void applyRepetitionPenalty(std::span<float> scores, std::span<const std::int32_t> history,
                            float penalty, RowScratch& scratch);

/// Forbids every token that would complete an n-gram which the history already holds.
void forbidRepeatedNgrams(std::span<float> scores, std::span<const std::int32_t> history,
                          std::int64_t ngramSize);

void forbidTokens(std::span<float> scores, std::span<const std::int32_t> tokens);

void applyTemperature(std::span<float> scores, float temperature);

/// Keeps the k best scores and what ties with the last of them.
void keepTopK(std::span<float> scores, std::int64_t k, RowScratch& scratch);

/// Keeps the smallest set of best tokens whose probabilities sum to at least p, and at least
/// `minTokens`.
void keepTopP(std::span<float> scores, double p, std::int64_t minTokens, RowScratch& scratch);

/// Keeps tokens at least `minP` times as probable as the best one, and at least `minTokens`.
void keepMinP(std::span<float> scores, double minP, std::int64_t minTokens, RowScratch& scratch);

/// True if `options` change scores at all.
bool processesScores(const GenerationOptions& options);

/// All of the above as `options` ask. `history` is the prompt of the decoder (the start token and a
/// forced prefix), `promptTokens` long, and the tokens generated so far.
void processScores(const GenerationOptions& options, std::span<const std::int32_t> history,
                   std::int64_t promptTokens, std::span<float> scores, RowScratch& scratch);

}  // namespace wgqa
