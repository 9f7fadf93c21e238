#include "ops/tokens/random_draw.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace wgqa {
namespace {

constexpr std::size_t kChunk = 512;      // weights that are passed over at once
constexpr std::size_t kPhiloxWords = 4;  // random numbers of one block of the generator

}  // namespace

void addGumbelNoise(std::span<float> scores, const RandomField& random, std::uint32_t row) {
  for (std::size_t begin = 0; begin < scores.size(); begin += kPhiloxWords) {
    const auto four = scores.subspan(begin, std::min(kPhiloxWords, scores.size() - begin));
    if (rowMax(four) == kForbidden) continue;
    // The block that `random` reads at (row, begin) and the three after it.
    const PhiloxBlock bits = philox(random.seed, {static_cast<std::uint32_t>(begin / kPhiloxWords),
                                                  row, static_cast<std::uint32_t>(random.stream),
                                                  static_cast<std::uint32_t>(random.stream >> 32)});
    for (std::size_t i = 0; i < four.size(); ++i) {
      four[i] -= std::log(-std::log(uniformFromBits(bits[i])));
    }
  }
}

std::int32_t drawToken(std::span<const float> scores, double uniform, std::vector<float>& weights) {
  std::int32_t last = argmax(scores);
  if (last < 0) return last;
  double left = uniform * softmaxWeights(scores, weights);
  for (std::size_t begin = 0; begin < weights.size(); begin += kChunk) {
    const std::size_t end = std::min(begin + kChunk, weights.size());
    const double sum = rowSum(std::span(weights).subspan(begin, end - begin));
    if (left >= sum) {
      left -= sum;
      continue;
    }
    for (std::size_t token = begin; token < end; ++token) {
      if (weights[token] <= 0.0f) continue;
      last = static_cast<std::int32_t>(token);
      left -= weights[token];
      if (left < 0.0) break;
    }
    return last;
  }
  return last;
}

}  // namespace wgqa
