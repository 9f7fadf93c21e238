// Arithmetic on one row of logits, written so that the compiler vectorises it.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace wgqa {

inline constexpr float kForbidden = -std::numeric_limits<float>::infinity();

/// exp(x) for x <= 0, within 3e-7 of the result; 0 below -87.
float expOfNonPositive(float x);

/// Largest value; -infinity for a row of nothing else.
float rowMax(std::span<const float> row);

/// The largest value's place, the lowest one on a tie; -1 if every value is -infinity.
std::int32_t argmax(std::span<const float> row);

/// False if a value is NaN or +infinity, or all are -infinity (which forbids a token).
bool isUsable(std::span<const float> row);

/// log(sum of exp); the row holds at least one finite value.
float logSumExp(std::span<const float> row);

void addToRow(std::span<float> row, float value);

double rowSum(std::span<const float> row);

/// weights[i] = exp(row[i] - max); returns their sum.
double softmaxWeights(std::span<const float> row, std::vector<float>& weights);

struct ScoredToken {
  float score;
  std::int32_t token;
};

/// The order of candidates: by score, the lower token id on a tie.
inline bool ranksBefore(const ScoredToken& a, const ScoredToken& b) {
  return a.score > b.score || (a.score == b.score && a.token < b.token);
}

/// The `count` best tokens that are allowed, best first, with row[token] + offset as their score.
/// `best` is overwritten and may get fewer.
void topTokens(std::span<const float> row, float offset, std::int64_t count,
               std::vector<ScoredToken>& best);

}  // namespace wgqa
