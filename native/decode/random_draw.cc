#include "decode/random_draw.h"

namespace wgqa {

std::int32_t drawToken(std::span<const float> scores, double uniform, std::vector<float>& weights) {
  std::int32_t last = argmax(scores);
  if (last < 0) return last;
  double left = uniform * softmaxWeights(scores, weights);
  for (std::size_t token = 0; token < weights.size(); ++token) {
    if (weights[token] <= 0.0f) continue;
    last = static_cast<std::int32_t>(token);
    left -= weights[token];
    if (left < 0.0) break;
  }
  return last;
}

}  // namespace wgqa
