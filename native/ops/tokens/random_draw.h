// Random choices from a row of scores, given the random numbers.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/philox.h"
#include "ops/tokens/row_math.h"

namespace wgqa {

/// Adds a standard Gumbel variable, made of random.at(row, token), to each allowed score. The
/// largest of score + Gumbel is a draw from softmax(score), and the k largest are k draws without
/// replacement, in order (Kool et al. 2019, arXiv 1903.06059).
void addGumbelNoise(std::span<float> scores, const RandomField& random, std::uint32_t row);

/// Draws from softmax(scores): the token at which the cumulative probability passes `uniform`.
/// -1 if no token is allowed.
std::int32_t drawToken(std::span<const float> scores, double uniform, std::vector<float>& weights);

}  // namespace wgqa
