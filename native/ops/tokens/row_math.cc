#include "ops/tokens/row_math.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>

namespace wgqa {
namespace {

// Accumulators that do not depend on each other: one per vector lane.
constexpr std::size_t kLanes = 16;
// Elements between two looks at the threshold of topTokens, and between two sums in double.
constexpr std::size_t kChunk = 512;

/// Calls body(begin, length) for each chunk of [0, size).
template <typename Body>
void forChunks(std::size_t size, const Body& body) {
  for (std::size_t begin = 0; begin < size; begin += kChunk) {
    body(begin, std::min(kChunk, size - begin));
  }
}

float chunkMax(const float* values, std::size_t size) {
  float lanes[kLanes];
  std::fill(lanes, lanes + kLanes, kForbidden);
  std::size_t i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      lanes[lane] = values[i + lane] > lanes[lane] ? values[i + lane] : lanes[lane];
    }
  }
  for (; i < size; ++i) lanes[0] = std::max(lanes[0], values[i]);
  return *std::max_element(lanes, lanes + kLanes);
}

float chunkSum(const float* values, std::size_t size) {
  float lanes[kLanes] = {};
  std::size_t i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) lanes[lane] += values[i + lane];
  }
  for (; i < size; ++i) lanes[0] += values[i];
  float sum = 0.0f;
  for (const float lane : lanes) sum += lane;
  return sum;
}

// exp(x) = 2^n * exp(r) with n = round(x / ln 2), |r| <= ln 2 / 2; exp(r) as the polynomial of
// Cephes' expf. No branch and no library call, so that loops over it become vector code.
inline float expInline(float x) {
  constexpr float kLog2E = 1.44269504088896341f;
  constexpr float kLn2High = 0.693359375f;
  constexpr float kLn2Low = -2.12194440e-4f;
  constexpr float kRounder = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  constexpr float kLowest = -87.0f;        // exp of less is not a normal number
  const float shifted = x * kLog2E + kRounder;
  const float n = shifted - kRounder;
  const float r = x - n * kLn2High - n * kLn2Low;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const std::uint32_t exponent = std::bit_cast<std::uint32_t>(shifted) << 23;
  const std::uint32_t keep = x < kLowest ? 0u : ~0u;  // a mask: choosing a float would branch
  return std::bit_cast<float>((std::bit_cast<std::uint32_t>(p) + exponent) & keep);
}

}  // namespace

float expOfNonPositive(float x) { return expInline(x); }

float rowMax(std::span<const float> row) { return chunkMax(row.data(), row.size()); }

std::int32_t argmax(std::span<const float> row) {
  const float max = rowMax(row);
  if (max == kForbidden) return -1;
  return static_cast<std::int32_t>(std::find(row.begin(), row.end(), max) - row.begin());
}

bool isUsable(std::span<const float> row) {
  // x < inf is false for +infinity and NaN.
  std::int32_t bad = 0;
  for (const float value : row) {
    bad |= value < std::numeric_limits<float>::infinity() ? 0 : 1;
  }
  return bad == 0 && rowMax(row) > kForbidden;
}

double rowSum(std::span<const float> row) {
  double sum = 0.0;
  forChunks(row.size(), [&](std::size_t begin, std::size_t length) {
    sum += chunkSum(row.data() + begin, length);
  });
  return sum;
}

double softmaxWeights(std::span<const float> row, std::vector<float>& weights) {
  weights.resize(row.size());
  const float max = rowMax(row);
  double sum = 0.0;
  forChunks(row.size(), [&](std::size_t begin, std::size_t length) {
    const float* in = row.data() + begin;
    float* out = weights.data() + begin;
    for (std::size_t i = 0; i < length; ++i) out[i] = expInline(in[i] - max);
    sum += chunkSum(out, length);
  });
  return sum;
}

float logSumExp(std::span<const float> row) {
  const float max = rowMax(row);
  float weights[kChunk];
  double sum = 0.0;
  forChunks(row.size(), [&](std::size_t begin, std::size_t length) {
    const float* in = row.data() + begin;
    for (std::size_t i = 0; i < length; ++i) weights[i] = expInline(in[i] - max);
    sum += chunkSum(weights, length);
  });
  return max + static_cast<float>(std::log(sum));
}

void addToRow(std::span<float> row, float value) {
  for (float& element : row) element += value;
}

void topTokens(std::span<const float> row, float offset, std::int64_t count,
               std::vector<ScoredToken>& best) {
  best.clear();
  const auto wanted = static_cast<std::size_t>(
      std::clamp<std::int64_t>(count, 0, static_cast<std::int64_t>(row.size())));
  if (wanted == 0) return;
  // A heap whose front is the worst token kept. Tokens come in ascending order, so one that only
  // equals the worst ranks behind it: whole chunks without a better value are passed over.
  float threshold = kForbidden;
  forChunks(row.size(), [&](std::size_t begin, std::size_t length) {
    if (!(chunkMax(row.data() + begin, length) + offset > threshold)) return;
    for (std::size_t i = begin; i < begin + length; ++i) {
      const float score = row[i] + offset;
      if (!(score > threshold)) continue;
      if (best.size() == wanted) {
        std::pop_heap(best.begin(), best.end(), ranksBefore);
        best.pop_back();
      }
      best.push_back({score, static_cast<std::int32_t>(i)});
      std::push_heap(best.begin(), best.end(), ranksBefore);
      if (best.size() == wanted) threshold = best.front().score;
    }
  });
  std::sort_heap(best.begin(), best.end(), ranksBefore);
}

}  // namespace wgqa
