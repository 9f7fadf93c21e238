// Logits processors against examples worked by hand from Hugging Face's definitions.
#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "decode/processors.h"
#include "ops/tokens/logits_processors.h"
#include "test/harness.h"

namespace wgqa {
namespace {

using Row = std::vector<float>;
using Tokens = std::vector<std::int32_t>;

/// Logits of given probabilities.
Row logOf(const std::vector<double>& probabilities) {
  Row row;
  for (const double p : probabilities) row.push_back(static_cast<float>(std::log(p)));
  return row;
}

Tokens allowed(const Row& row) {
  Tokens tokens;
  for (std::size_t i = 0; i < row.size(); ++i) {
    if (row[i] > kForbidden) tokens.push_back(static_cast<std::int32_t>(i));
  }
  return tokens;
}

void forbidRepeatedNgrams(Row& row, const Tokens& history, std::int64_t ngramSize) {
  Tokens repeated;
  addContinuations(history, history, ngramSize, repeated);
  forbidTokens(row, repeated);
}

void processScores(const GenerationOptions& options, const Tokens& history,
                   std::int64_t promptTokens, Row& row, RowScratch& scratch) {
  ChoiceLists lists;
  const RowChoice choice = processorsOf(options, history, promptTokens, lists);
  wgqa::processScores(choice, lists.tokens, row, scratch);
}

WGQA_TEST(decodeRepetitionPenaltyCountsATokenOnce) {
  Row row = {2.0f, -2.0f, 3.0f, 0.0f};
  RowScratch scratch;
  applyRepetitionPenalty(row, Tokens{0, 1, 1, 0, 3}, 2.0f, scratch);
  CHECK((row == Row{1.0f, -4.0f, 3.0f, 0.0f}));
  // The scratch memory remembers nothing.
  applyRepetitionPenalty(row, Tokens{2}, 2.0f, scratch);
  CHECK((row == Row{1.0f, -4.0f, 1.5f, 0.0f}));
}

WGQA_TEST(decodeRepeatedNgramsAreForbidden) {
  // History 5 6 7 5 6: a 3-gram 5 6 7 exists, so 7 may not follow; 2-grams 6 7 forbid 7 too.
  const Tokens history = {5, 6, 7, 5, 6};
  Row row(8, 0.0f);
  forbidRepeatedNgrams(row, history, 3);
  CHECK((allowed(row) == Tokens{0, 1, 2, 3, 4, 5, 6}));
  Row unigrams(8, 0.0f);
  forbidRepeatedNgrams(unigrams, history, 1);
  CHECK((allowed(unigrams) == Tokens{0, 1, 2, 3, 4}));
  Row longer(8, 0.0f);
  forbidRepeatedNgrams(longer, history, 5);
  CHECK_EQUAL(allowed(longer).size(), 8u);
  forbidRepeatedNgrams(longer, Tokens{5}, 3);
  CHECK_EQUAL(allowed(longer).size(), 8u);
}

WGQA_TEST(decodeTopKKeepsTies) {
  RowScratch scratch;
  Row row = {1.0f, 3.0f, 2.0f, 2.0f, 0.0f};
  keepTopK(row, 2, scratch);
  CHECK((allowed(row) == Tokens{1, 2, 3}));
  Row few = {1.0f, kForbidden, 2.0f};
  keepTopK(few, 2, scratch);
  CHECK((allowed(few) == Tokens{0, 2}));
  keepTopK(few, 9, scratch);
  CHECK((allowed(few) == Tokens{0, 2}));
}

WGQA_TEST(decodeTopPKeepsTheSmallestSetThatReachesP) {
  RowScratch scratch;
  const Row row = logOf({0.1, 0.5, 0.15, 0.25});
  const auto kept = [&](double p, std::int64_t minTokens) {
    Row copy = row;
    keepTopP(copy, p, minTokens, scratch);
    return allowed(copy);
  };
  CHECK((kept(0.4, 1) == Tokens{1}));
  CHECK((kept(0.6, 1) == Tokens{1, 3}));
  CHECK((kept(0.8, 1) == Tokens{1, 2, 3}));
  CHECK((kept(0.99, 1) == Tokens{0, 1, 2, 3}));
  CHECK((kept(0.4, 3) == Tokens{1, 2, 3}));
}

WGQA_TEST(decodeTopPMatchesSortingEveryToken) {
  RowScratch scratch;
  for (std::uint32_t seed = 0; seed < 200; ++seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0.0f, 0.1f + static_cast<float>(seed % 7));
    Row row(2 + random() % 3000);
    for (float& score : row) score = random() % 8 == 0 ? kForbidden : normal(random);
    row[1] = 0.5f;
    const double p = 0.05 + 0.9 * static_cast<double>(random() % 1000) / 1000.0;
    Row kept = row;
    keepTopP(kept, p, 1, scratch);
    std::vector<ScoredToken> ranked;
    double total = 0.0;
    for (const std::int32_t token : allowed(row)) {
      ranked.push_back({row[token], token});
      total += std::exp(static_cast<double>(row[token]));
    }
    std::sort(ranked.begin(), ranked.end(), ranksBefore);
    double mass = 0.0;
    std::size_t expected = 0;
    while (mass < p * total) mass += std::exp(static_cast<double>(ranked[expected++].score));
    const std::size_t count = allowed(kept).size();
    // One token more or less where the float32 weights round across the border.
    CHECK_NEAR(static_cast<double>(count), static_cast<double>(expected), 1.0);
    for (std::size_t i = 0; i < ranked.size(); ++i) {
      CHECK_EQUAL(kept[ranked[i].token], i < count ? ranked[i].score : kForbidden);
    }
  }
}

WGQA_TEST(decodeTopPNextToOneKeepsWhatCounts) {
  RowScratch scratch;
  Row row = {0.0f, 0.0f, -3.0f, kForbidden};
  keepTopP(row, 1.0 - 1e-15, 1, scratch);
  CHECK((allowed(row) == Tokens{0, 1, 2}));
  Row none(4, kForbidden);
  keepTopP(none, 0.5, 1, scratch);
  CHECK(allowed(none).empty());
}

WGQA_TEST(decodeMinPIsRelativeToTheBestToken) {
  RowScratch scratch;
  Row row = logOf({0.1, 0.5, 0.15, 0.25});
  keepMinP(row, 0.25, 1, scratch);
  CHECK((allowed(row) == Tokens{1, 2, 3}));
  keepMinP(row, 1.0, 2, scratch);
  CHECK((allowed(row) == Tokens{1, 3}));
}

WGQA_TEST(decodeProcessorsRunInHuggingFaceOrder) {
  // Temperature before top-p: at temperature 2 the probabilities flatten to about
  // 0.51 0.23 0.16 0.10, so that 0.6 needs two tokens; without it one token would do.
  GenerationOptions options;
  options.doSample = true;
  options.topK = 0;
  options.topP = 0.6;
  RowScratch scratch;
  const Row row = logOf({0.80, 0.16, 0.03, 0.01});
  Row plain = row;
  processScores(options, Tokens{0}, 1, plain, scratch);
  CHECK((allowed(plain) == Tokens{0}));
  options.temperature = 2.0;
  Row flat = row;
  processScores(options, Tokens{0}, 1, flat, scratch);
  CHECK((allowed(flat) == Tokens{0, 1}));
  CHECK_NEAR(flat[0], row[0] / 2.0f, 1e-7);
}

WGQA_TEST(decodeMinNewTokensForbidsEveryEndToken) {
  GenerationOptions options;
  options.minNewTokens = 2;
  options.eosTokenIds = {1, 3};
  RowScratch scratch;
  const auto kept = [&](const Tokens& history) {
    Row row(5, 1.0f);
    processScores(options, history, 1, row, scratch);
    return allowed(row);
  };
  CHECK((kept({0}) == Tokens{0, 2, 4}));
  CHECK((kept({0, 4}) == Tokens{0, 2, 4}));
  CHECK((kept({0, 4, 4}) == Tokens{0, 1, 2, 3, 4}));
}

}  // namespace
}  // namespace wgqa
