// Arithmetic on rows of logits, against double precision and plain sorting.
#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "ops/tokens/row_math.h"
#include "test/harness.h"

namespace wgqa {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::vector<float> randomRow(std::size_t size, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, 4.0f);
  std::vector<float> row(size);
  for (float& value : row) value = normal(random);
  return row;
}

WGQA_TEST(decodeExpIsWithinItsStatedError) {
  double worst = 0.0;
  for (float x = -87.0f; x <= 0.0f; x += 0.0037f) {
    const double exact = std::exp(static_cast<double>(x));
    worst = std::max(worst, std::abs(expOfNonPositive(x) - exact) / exact);
  }
  CHECK(worst < 3e-7);
  CHECK_EQUAL(expOfNonPositive(0.0f), 1.0f);
  CHECK_EQUAL(expOfNonPositive(-88.0f), 0.0f);
  CHECK_EQUAL(expOfNonPositive(-kInfinity), 0.0f);
}

WGQA_TEST(decodeLogSumExpMatchesDouble) {
  for (const std::size_t size : {1u, 15u, 17u, 511u, 513u, 32128u}) {
    const std::vector<float> row = randomRow(size, static_cast<std::uint32_t>(size));
    double sum = 0.0;
    for (const float value : row) sum += std::exp(static_cast<double>(value));
    // One float32 rounding of a result below 16, twice over for the rounding of the maximum.
    CHECK_NEAR(logSumExp(row), std::log(sum), 2e-6);
  }
  const std::vector<float> oneAllowed = {kForbidden, 300.0f, kForbidden};
  CHECK_NEAR(logSumExp(oneAllowed), 300.0, 0.0);
}

WGQA_TEST(decodeTopTokensMatchSorting) {
  for (std::uint32_t seed = 0; seed < 200; ++seed) {
    std::mt19937 random(seed);
    std::vector<float> row = randomRow(1 + random() % 2000, seed);
    for (float& value : row) {
      value = std::round(value);  // many ties
      if (random() % 4 == 0) value = kForbidden;
    }
    std::vector<ScoredToken> expected;
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (row[i] > kForbidden) expected.push_back({row[i] - 2.5f, static_cast<std::int32_t>(i)});
    }
    std::stable_sort(expected.begin(), expected.end(),
                     [](const ScoredToken& a, const ScoredToken& b) { return a.score > b.score; });
    const std::size_t count = 1 + random() % 100;
    expected.resize(std::min(expected.size(), count));
    std::vector<ScoredToken> best;
    topTokens(row, -2.5f, static_cast<std::int64_t>(count), best);
    const bool same = std::equal(best.begin(), best.end(), expected.begin(), expected.end(),
                                 [](const ScoredToken& a, const ScoredToken& b) {
                                   return a.score == b.score && a.token == b.token;
                                 });
    CHECK(same);
  }
}

WGQA_TEST(decodeArgmaxTakesTheLowestOfEquals) {
  std::vector<float> row(1000, -1.0f);
  row[700] = 2.0f;
  row[30] = 2.0f;
  CHECK_EQUAL(argmax(row), 30);
  std::fill(row.begin(), row.end(), kForbidden);
  CHECK_EQUAL(argmax(row), -1);
}

WGQA_TEST(decodeUnusableRowsAreSeen) {
  std::vector<float> row = randomRow(100, 5);
  CHECK(isUsable(row));
  row[99] = kForbidden;
  CHECK(isUsable(row));
  row[3] = kNan;
  CHECK(!isUsable(row));
  row[3] = kInfinity;
  CHECK(!isUsable(row));
  std::fill(row.begin(), row.end(), kForbidden);
  CHECK(!isUsable(row));
}

}  // namespace
}  // namespace wgqa
