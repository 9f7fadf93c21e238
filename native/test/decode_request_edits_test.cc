// Rare options against short references, written from transformers' definitions in double.
#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "decode/processors.h"
#include "decode/request_edits.h"
#include "ops/tokens/choose_rows.h"
#include "test/decode_fake_model.h"
#include "test/harness.h"

namespace wgqa {
namespace {

using Row = std::vector<float>;
using Tokens = std::vector<std::int32_t>;
using Wide = std::vector<double>;

constexpr double kForbiddenWide = -std::numeric_limits<double>::infinity();
constexpr double kFloatMax = std::numeric_limits<float>::max();

Wide softmax(const Wide& scores) {
  const double max = *std::max_element(scores.begin(), scores.end());
  Wide result;
  double sum = 0.0;
  for (const double score : scores) sum += std::exp(score - max);
  for (const double score : scores) result.push_back(std::exp(score - max) / sum);
  return result;
}

double logSumOf(const Wide& scores) {
  const double max = *std::max_element(scores.begin(), scores.end());
  double sum = 0.0;
  for (const double score : scores) sum += std::exp(score - max);
  return max + std::log(sum);
}

double entropyOf(const Wide& probabilities) {
  double entropy = 0.0;
  for (const double p : probabilities) entropy -= p > 0.0 ? p * std::log(p) : 0.0;
  return entropy;
}

void append(TokenSequences& sequences, const Tokens& tokens) {
  sequences.ids.insert(sequences.ids.end(), tokens.begin(), tokens.end());
  sequences.offsets.push_back(static_cast<std::int32_t>(sequences.ids.size()));
}

Tokens tokensOf(std::span<const std::int32_t> span) { return {span.begin(), span.end()}; }

/// LogitsProcessorList of generate() for one row, each processor as its __call__ says.
class LiteralProcessors {
 public:
  LiteralProcessors(const GenerationOptions& options, Tokens source, Tokens history,
                    std::size_t promptTokens)
      : o_(options),
        source_(std::move(source)),
        history_(std::move(history)),
        promptTokens_(promptTokens) {}

  Wide process(Wide scores) const {
    for (std::size_t i = 0; i < o_.edits.biased.size(); ++i) {
      bias(scores, tokensOf(o_.edits.biased[i]), o_.edits.biases[i]);
    }
    repetition(scores, source_, 1.0 / o_.edits.encoderRepetitionPenalty);
    repetition(scores, history_, o_.repetitionPenalty);
    ngrams(scores, history_, o_.noRepeatNgramSize);
    ngrams(scores, source_, o_.edits.encoderNoRepeatNgramSize);
    for (std::size_t i = 0; i < o_.edits.badWords.size(); ++i) {
      const Tokens word = tokensOf(o_.edits.badWords[i]);
      const bool isEnd = word.size() == 1 && o_.isEos(word[0]);
      if (!isEnd) bias(scores, word, kForbiddenWide);
    }
    const std::size_t length = history_.size();
    if (length < promptTokens_ + static_cast<std::size_t>(o_.minNewTokens)) {
      for (const std::int32_t end : o_.eosTokenIds) scores[end] = kForbiddenWide;
    }
    if (o_.edits.forcedBosTokenId && length == 1) force(scores, {*o_.edits.forcedBosTokenId});
    const auto maxLength = promptTokens_ + static_cast<std::size_t>(o_.maxNewTokens);
    if (!o_.edits.forcedEosTokenIds.empty() && length == maxLength - 1) {
      force(scores, o_.edits.forcedEosTokenIds);
    }
    if (o_.edits.removeInvalidValues) {
      for (double& score : scores) {
        if (std::isnan(score)) score = 0.0;
        score = std::clamp(score, -kFloatMax, kFloatMax);
      }
    }
    decay(scores);
    for (const std::int32_t token : o_.edits.suppressTokens) scores[token] = kForbiddenWide;
    const std::size_t begin =
        promptTokens_ > 1 || !o_.edits.forcedBosTokenId ? promptTokens_ : promptTokens_ + 1;
    if (length == begin) {
      for (const std::int32_t token : o_.edits.beginSuppressTokens) scores[token] = kForbiddenWide;
    }
    if (o_.doSample) sample(scores);
    if (o_.edits.renormalizeLogits) {
      const double logSum = logSumOf(scores);
      for (double& score : scores) score -= logSum;
    }
    return scores;
  }

 private:
  /// SequenceBiasLogitsProcessor.
  void bias(Wide& scores, const Tokens& sequence, double value) const {
    if (sequence.size() > 1) {
      if (sequence.size() > history_.size()) return;
      const Tokens prefix(sequence.begin(), sequence.end() - 1);
      const Tokens end(history_.end() - static_cast<std::ptrdiff_t>(prefix.size()), history_.end());
      if (end != prefix) return;
    }
    scores[sequence.back()] += value;
  }

  static void repetition(Wide& scores, const Tokens& tokens, double penalty) {
    for (const std::int32_t token : std::set<std::int32_t>(tokens.begin(), tokens.end())) {
      scores[token] = scores[token] < 0.0 ? scores[token] * penalty : scores[token] / penalty;
    }
  }

  void ngrams(Wide& scores, const Tokens& text, std::int64_t size) const {
    if (size == 0 || std::ssize(history_) < size - 1) return;
    const Tokens end(history_.end() - (size - 1), history_.end());
    for (std::int64_t i = 0; i + size <= std::ssize(text); ++i) {
      const Tokens prefix(text.begin() + i, text.begin() + i + size - 1);
      if (prefix == end) scores[text[static_cast<std::size_t>(i + size - 1)]] = kForbiddenWide;
    }
  }

  static void force(Wide& scores, const Tokens& tokens) {
    std::fill(scores.begin(), scores.end(), kForbiddenWide);
    for (const std::int32_t token : tokens) scores[token] = 0.0;
  }

  void decay(Wide& scores) const {
    if (!o_.edits.exponentialDecay) return;
    const auto& [start, factor] = *o_.edits.exponentialDecay;
    const std::int64_t regulation = start + static_cast<std::int64_t>(promptTokens_);
    const std::int64_t beyond = std::ssize(history_) - regulation;
    if (beyond <= 0) return;
    for (const std::int32_t end : o_.eosTokenIds) {
      if (scores[end] == kForbiddenWide) continue;
      const double growth = std::pow(factor, static_cast<double>(beyond)) - 1.0;
      const double penalty = std::abs(scores[end]) * growth;
      // float32 ends there, and nothing becomes infinity.
      scores[end] = penalty > kFloatMax ? kFloatMax : scores[end] + penalty;
    }
  }

  void sample(Wide& scores) const {
    for (double& score : scores) score /= o_.temperature;
    const std::size_t least = o_.numBeams > 1 ? o_.eosTokenIds.size() + 1 : 1;
    if (o_.edits.typicalP < 1.0) typical(scores, least);
    cut(scores, o_.edits.epsilonCutoff, least);
    const double eta = o_.edits.etaCutoff;
    if (eta > 0.0) {
      cut(scores, std::min(eta, std::sqrt(eta) * std::exp(-entropyOf(softmax(scores)))), least);
    }
  }

  /// TypicalLogitsWarper.
  void typical(Wide& scores, std::size_t least) const {
    const Wide p = softmax(scores);
    const double entropy = entropyOf(p);
    std::vector<std::size_t> order(p.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    const double logSum = logSumOf(scores);
    const auto shifted = [&](std::size_t i) { return std::abs(logSum - scores[i] - entropy); };
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return shifted(a) < shifted(b); });
    double sum = 0.0;
    std::size_t last = 0;
    for (const std::size_t i : order) {
      sum += p[i];
      if (sum < o_.edits.typicalP) ++last;
    }
    last = std::min(last, order.size() - 1);
    const double farthest = shifted(order[last]);
    for (std::size_t i = least; i < order.size(); ++i) {
      if (shifted(order[i]) > farthest) scores[order[i]] = kForbiddenWide;
    }
  }

  /// EpsilonLogitsWarper.
  static void cut(Wide& scores, double epsilon, std::size_t least) {
    if (epsilon == 0.0) return;
    const Wide p = softmax(scores);
    Wide sorted = scores;
    std::sort(sorted.begin(), sorted.end(), std::greater<>());
    const double kept = sorted[std::min(least, sorted.size()) - 1];
    for (std::size_t i = 0; i < scores.size(); ++i) {
      if (p[i] < epsilon && scores[i] < kept) scores[i] = kForbiddenWide;
    }
  }

  const GenerationOptions& o_;
  Tokens source_;
  Tokens history_;
  std::size_t promptTokens_;
};

constexpr std::int32_t kVocab = 12;

Tokens randomTokens(std::mt19937& random, std::size_t count) {
  Tokens tokens(count);
  for (std::int32_t& token : tokens) token = static_cast<std::int32_t>(random() % kVocab);
  return tokens;
}

/// Each option on its own and with others; which ones is the bits of `wanted`.
GenerationOptions randomOptions(std::mt19937& random, std::uint32_t wanted) {
  const auto has = [&](int bit) { return (wanted >> bit & 1) != 0; };
  GenerationOptions options;
  options.eosTokenIds = {1, 3};
  options.topK = 0;
  options.maxNewTokens = 4;
  RowEditOptions& edits = options.edits;
  for (int i = 0; has(0) && i < 6; ++i) {
    append(edits.biased, randomTokens(random, 1 + random() % 3));
    edits.biases.push_back(static_cast<float>(random() % 9) - 4.0f);
  }
  if (has(1)) edits.encoderRepetitionPenalty = 1.5;
  if (has(2)) options.repetitionPenalty = 1.3;
  if (has(3)) edits.encoderNoRepeatNgramSize = 1 + random() % 3;
  for (int i = 0; has(4) && i < 6; ++i) {
    append(edits.badWords, randomTokens(random, 1 + random() % 3));
  }
  if (has(5)) edits.forcedBosTokenId = static_cast<std::int32_t>(random() % kVocab);
  if (has(6)) edits.forcedEosTokenIds = {1};
  if (has(7)) edits.removeInvalidValues = true;
  if (has(8)) edits.exponentialDecay = {static_cast<std::int64_t>(random() % 2), 1.4};
  if (has(9)) edits.suppressTokens = randomTokens(random, 2);
  if (has(10)) edits.beginSuppressTokens = randomTokens(random, 2);
  options.doSample = random() % 2 == 0;
  if (has(11)) edits.typicalP = 0.6;
  if (has(12)) edits.epsilonCutoff = 0.08;
  if (has(13)) edits.etaCutoff = 0.3;
  if (has(14)) edits.renormalizeLogits = true;
  if (has(15)) options.numBeams = 3;
  if (has(16)) options.temperature = 1.7;
  if (has(17)) options.noRepeatNgramSize = 2;
  if (has(18)) options.minNewTokens = 2;
  return options;
}

Row processed(const GenerationOptions& options, const Tokens& source, const Tokens& history,
              std::int64_t promptTokens, Row row) {
  ChoiceLists lists;
  RowScratch scratch;
  const RowChoice choice = processorsOf(options, history, promptTokens, lists);
  const RequestEdits edits(options, source, history, promptTokens);
  edits.beforePenalty(row, scratch);
  penaliseAndForbid(choice, lists.tokens, row, scratch);
  edits.beforeFilters(row);
  filterScores(choice, row, scratch);
  edits.afterFilters(row, choice.minTokens, scratch);
  return row;
}

WGQA_TEST(decodeEditsAreThoseOfTheirDefinitions) {
  std::mt19937 random(11);
  std::normal_distribution<float> normal(0.0f, 1.5f);
  for (std::uint32_t round = 0; round < 6000; ++round) {
    // One option alone in turn, then any of them.
    const std::uint32_t wanted = round < 1900 ? 1u << (round % 19) : random();
    const GenerationOptions options = randomOptions(random, wanted);
    options.validate(kVocab);
    const std::size_t promptTokens = 1 + random() % 3;
    const Tokens source = randomTokens(random, 1 + random() % 8);
    const Tokens history = randomTokens(random, promptTokens + random() % 4);
    Row row(kVocab);
    for (float& score : row) score = normal(random);
    const Row actual =
        processed(options, source, history, static_cast<std::int64_t>(promptTokens), row);
    const LiteralProcessors literal(options, source, history, promptTokens);
    const Wide expected = literal.process(Wide(row.begin(), row.end()));
    const bool isOpen = *std::max_element(expected.begin(), expected.end()) > kForbiddenWide;
    for (std::size_t i = 0; isOpen && i < row.size(); ++i) {
      const bool same = expected[i] < -kFloatMax ? actual[i] == kForbidden
                                                 : std::abs(actual[i] - expected[i]) <=
                                                       1e-5 * std::max(1.0, std::abs(expected[i]));
      if (same) continue;
      test::fail("options " + std::to_string(wanted) + ", token " + std::to_string(i) + ": " +
                 std::to_string(actual[i]) + " instead of " + std::to_string(expected[i]));
      return;
    }
  }
}

WGQA_TEST(decodeContinuationsAreThoseOfEveryOccurrence) {
  std::mt19937 random(5);
  for (int round = 0; round < 2000; ++round) {
    Tokens text(random() % 12);
    for (std::int32_t& token : text) token = static_cast<std::int32_t>(random() % 2);
    Tokens history(1 + random() % 5);
    for (std::int32_t& token : history) token = static_cast<std::int32_t>(random() % 2);
    const auto size = static_cast<std::int64_t>(1 + random() % 5);
    Tokens expected;
    for (std::int64_t i = size - 1; std::ssize(history) >= size - 1 && i < std::ssize(text); ++i) {
      if (std::equal(history.end() - (size - 1), history.end(), text.begin() + i - (size - 1))) {
        expected.push_back(text[static_cast<std::size_t>(i)]);
      }
    }
    Tokens actual;
    addContinuations(history, text, size, actual);
    CHECK(actual == expected);
  }
}

WGQA_TEST(decodeInvalidLogitsAreMendedWhereAsked) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  test::FakeModel model({});
  model.editLogits = [](auto, std::span<float> logits) {
    std::fill(logits.begin(), logits.end(), -1.0f);
    logits[5] = kNan;
  };
  for (const std::int64_t beams : {1, 3}) {
    GenerationRequest request = test::endless({3, 4}, 3);
    request.options.numBeams = beams;
    CHECK_THROWS(ErrorCode::nonFinite, test::decodeAlone(model, request));
    request.options.edits.removeInvalidValues = true;
    // NaN is 0 and the others less; of beams all scores are NaN, and so all tokens alike.
    const auto sequences = test::decodeAlone(model, request);
    CHECK_EQUAL(sequences[0].tokenIds[0], beams == 1 ? 5 : 0);
  }
}

WGQA_TEST(decodeAlternativesAreTheBestOfTheUnprocessedRow) {
  test::FakeModel model({});
  for (const std::int64_t beams : {1, 3}) {
    GenerationRequest request = test::endless({3, 4}, 5);
    request.options.numBeams = beams;
    request.options.logProbs = true;
    request.options.repetitionPenalty = 1.5;
    const auto plain = test::decodeAlone(model, request)[0];
    request.options.topLogProbs = 4;
    const auto told = test::decodeAlone(model, request)[0];
    CHECK(told.tokenIds == plain.tokenIds);
    CHECK(told.logProbs == plain.logProbs);
    CHECK_EQUAL(told.alternatives.size(), 20u);
    Tokens history = {0};
    for (std::size_t place = 0; place < 5; ++place) {
      std::vector<float> logits = model.logitsOf(request.inputIds, history);
      const float logSum = logSumExp(logits);
      std::vector<ScoredToken> best;
      topTokens(logits, -logSum, 4, best);
      for (std::size_t i = 0; i < 4; ++i) {
        CHECK_EQUAL(told.alternatives[4 * place + i].token, best[i].token);
        CHECK_NEAR(told.alternatives[4 * place + i].score, best[i].score, 1e-6);
      }
      history.push_back(told.tokenIds[place]);
    }
  }
}

WGQA_TEST(decodeWithoutAnAllowedTokenIsBlocked) {
  test::FakeModel model({});
  for (const std::int64_t beams : {1, 2}) {
    GenerationRequest request = test::endless({3, 4}, 5);
    request.options.numBeams = beams;
    Tokens all(24);
    for (std::int32_t token = 0; token < 24; ++token) all[static_cast<std::size_t>(token)] = token;
    request.options.edits.suppressTokens = all;
    const auto sequences = test::decodeAlone(model, request);
    CHECK(sequences[0].finishReason == FinishReason::blocked);
    CHECK(sequences[0].tokenIds.empty());
  }
}

WGQA_TEST(decodeEditsDeclineWhatCannotBe) {
  const auto declines = [](const auto& change) {
    GenerationOptions options;
    change(options.edits);
    CHECK_THROWS(ErrorCode::invalidArgument, options.validate(kVocab));
  };
  declines([](RowEditOptions& edits) { edits.suppressTokens = {kVocab}; });
  declines([](RowEditOptions& edits) { edits.beginSuppressTokens = {-1}; });
  declines([](RowEditOptions& edits) { edits.forcedBosTokenId = kVocab; });
  declines([](RowEditOptions& edits) { edits.forcedEosTokenIds = {kVocab}; });
  declines([](RowEditOptions& edits) { append(edits.badWords, {}); });
  declines([](RowEditOptions& edits) { append(edits.badWords, Tokens(16385, 1)); });
  declines([](RowEditOptions& edits) { append(edits.badWords, {1, kVocab}); });
  declines([](RowEditOptions& edits) { append(edits.biased, {1}); });
  declines([](RowEditOptions& edits) { edits.encoderRepetitionPenalty = 0.0; });
  declines([](RowEditOptions& edits) { edits.encoderNoRepeatNgramSize = -1; });
  declines([](RowEditOptions& edits) { edits.exponentialDecay = {-1, 1.0}; });
  declines([](RowEditOptions& edits) { edits.exponentialDecay = {0, NAN}; });
  declines([](RowEditOptions& edits) { edits.typicalP = NAN; });
  declines([](RowEditOptions& edits) { edits.epsilonCutoff = -0.1; });
}

}  // namespace
}  // namespace wgqa
