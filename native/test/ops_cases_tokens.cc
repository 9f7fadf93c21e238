// Choosing tokens against a plain implementation: every row is sorted in full, sums are in double.
// Where rounding decides (two scores next to each other, a probability at the border of top-p),
// either outcome is accepted.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "ops/reference/wide.h"
#include "test/harness.h"
#include "test/ops_table.h"

namespace wgqa::test {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
// Of probabilities, relative to their sum, and of scores that went through a logarithm: as that of
// float32 results in the table of tolerances.
constexpr double kTolerance = 1e-5;

using Tokens = std::vector<std::int32_t>;

// ---------------------------------------------------------------------------- plain

enum class Kept : std::uint8_t { no, maybe, yes };

/// One row, processed as its choice says.
class PlainRow {
 public:
  PlainRow(const RowChoice& choice, const TokenChoices& lists, const std::vector<float>& logits)
      : choice_(choice), lists_(lists), logits_(logits) {
    for (const float logit : logits) {
      isUsable_ &= logit < std::numeric_limits<float>::infinity();
      max_ = std::max(max_, static_cast<double>(logit));
    }
    isUsable_ &= max_ > -kInfinity;
    if (!isUsable_) return;
    double sum = 0.0;
    for (const float logit : logits) sum += std::exp(logit - max_);
    logSum_ = max_ + std::log(sum);
    processScores();
    rankTokens();
    if (ranked_.empty()) return;
    filterTopK();
    if (choice.topP < 1.0) filterTopP();
    if (choice.minP > 0.0) filterMinP();
  }

  void check(std::span<const ChosenToken> chosen) const {
    if (!isUsable_ || ranked_.empty()) {
      for (const ChosenToken& taken : chosen) {
        CHECK_EQUAL(taken.token, isUsable_ ? kNoToken : kUnusableRow);
      }
      return;
    }
    for (const ChosenToken& taken : chosen) checkReport(taken);
    switch (choice_.take) {
      case Take::best:
        return checkBest(chosen);
      case Take::draws:
        return checkDraws(chosen);
      case Take::candidates:
      case Take::drawnCandidates:
        return checkCandidates(chosen);
    }
  }

 private:
  // A log-probability is rounded where the sum of the softmax is: next to 1e4, half of 2^-10 is
  // lost. Penalties and temperatures make at most 2.2 times as much of it.
  double toleranceOfScore(double score) const {
    return kTolerance * std::max(1.0, std::abs(score)) + 0x1.0p-22 * std::abs(logSum_);
  }

  // What each score has in float32, it has on every backend; logarithms are another's.
  double slack(double score) const {
    return choice_.logSoftmaxFirst ? toleranceOfScore(score) : 0.0;
  }

  void processScores() {
    for (const float logit : logits_) {
      scores_.push_back(choice_.logSoftmaxFirst ? static_cast<float>(logit - logSum_) : logit);
    }
    Tokens penalised(lists_.tokens.begin() + choice_.penalised.begin,
                     lists_.tokens.begin() + choice_.penalised.end);
    std::sort(penalised.begin(), penalised.end());
    penalised.erase(std::unique(penalised.begin(), penalised.end()), penalised.end());
    for (const std::int32_t token : penalised) {
      float& score = scores_[token];
      score = score < 0 ? score * choice_.repetitionPenalty : score / choice_.repetitionPenalty;
    }
    for (std::int32_t i = choice_.forbidden.begin; i < choice_.forbidden.end; ++i) {
      scores_[lists_.tokens[i]] = -std::numeric_limits<float>::infinity();
    }
    for (float& score : scores_) score /= choice_.temperature;
  }

  void rankTokens() {
    for (std::size_t token = 0; token < scores_.size(); ++token) {
      if (scores_[token] > -kInfinity) ranked_.push_back(static_cast<std::int32_t>(token));
    }
    std::stable_sort(ranked_.begin(), ranked_.end(),
                     [&](auto a, auto b) { return scores_[a] > scores_[b]; });
    kept_.assign(scores_.size(), Kept::no);
    for (const std::int32_t token : ranked_) kept_[token] = Kept::yes;
  }

  void limit(std::size_t rank, Kept most) {
    const bool isLeast = rank < static_cast<std::size_t>(choice_.minTokens);
    Kept& kept = kept_[ranked_[rank]];
    kept = isLeast ? kept : std::min(kept, most);
  }

  void filterTopK() {
    const auto k = static_cast<std::size_t>(std::max(choice_.topK, choice_.minTokens));
    if (choice_.topK == 0 || ranked_.size() < k) return;
    const double threshold = scores_[ranked_[k - 1]];
    for (std::size_t rank = k; rank < ranked_.size(); ++rank) {
      const double below = threshold - scores_[ranked_[rank]];
      if (below > slack(threshold)) {
        limit(rank, Kept::no);
      } else if (below > 0) {
        limit(rank, Kept::maybe);
      }
    }
    if (!choice_.logSoftmaxFirst) return;
    // What ties in double may not in float32.
    for (std::size_t rank = 0; rank < ranked_.size(); ++rank) {
      if (std::abs(scores_[ranked_[rank]] - threshold) <= slack(threshold)) {
        limit(rank, Kept::maybe);
      }
    }
  }

  double mass(std::int32_t token) const {
    return std::exp(static_cast<double>(scores_[token]) - scores_[ranked_[0]]);
  }

  double massKept(Kept least) const {
    double sum = 0.0;
    for (const std::int32_t token : ranked_) {
      if (kept_[token] >= least) sum += mass(token);
    }
    return sum;
  }

  // Of what an earlier filter may have kept, any part may be there.
  void filterTopP() {
    const double most = massKept(Kept::maybe);
    const double least = massKept(Kept::yes);
    const double tolerance = kTolerance * most;
    double mostBefore = 0.0;
    double leastBefore = 0.0;
    for (std::size_t rank = 0; rank < ranked_.size(); ++rank) {
      const std::int32_t token = ranked_[rank];
      const Kept before = kept_[token];
      if (leastBefore >= choice_.topP * most + tolerance) {
        limit(rank, Kept::no);
      } else if (mostBefore >= choice_.topP * least - tolerance) {
        limit(rank, Kept::maybe);
      }
      if (before != Kept::no) mostBefore += mass(token);
      if (before == Kept::yes) leastBefore += mass(token);
    }
  }

  // What ties with the last of minTokens stays as well.
  void filterMinP() {
    const double threshold = scores_[ranked_[0]] + std::log(choice_.minP);
    const auto least = std::min(static_cast<std::size_t>(choice_.minTokens), ranked_.size());
    const double last = scores_[ranked_[least - 1]];
    for (std::size_t rank = least; rank < ranked_.size(); ++rank) {
      const double score = scores_[ranked_[rank]];
      const double above = score - threshold;
      const bool ties = last - score <= slack(last);
      if (above < -toleranceOfScore(threshold) && !ties) {
        limit(rank, Kept::no);
      } else if (above < toleranceOfScore(threshold) && (!ties || choice_.logSoftmaxFirst)) {
        limit(rank, Kept::maybe);
      }
    }
  }

  double rankOf(std::int32_t token) const {
    double rank = static_cast<double>(scores_[token]) + choice_.offset;
    if (choice_.take == Take::drawnCandidates) {
      const RandomField noise{choice_.seed, choice_.stream};
      const std::uint32_t word = noise.at(choice_.noiseRow, static_cast<std::uint32_t>(token));
      rank -= std::log(-std::log(static_cast<double>(uniformFromBits(word))));
    }
    return rank;
  }

  void checkReport(const ChosenToken& taken) const {
    if (taken.token == kNoToken) return;
    CHECK(taken.token >= 0 && taken.token < std::ssize(scores_));
    if (taken.token < 0 || taken.token >= std::ssize(scores_)) return;
    CHECK(kept_[taken.token] != Kept::no);
    const double score = static_cast<double>(scores_[taken.token]) + choice_.offset;
    CHECK_NEAR(taken.score, score, toleranceOfScore(score));
    const double rank = rankOf(taken.token);
    CHECK_NEAR(taken.rank, rank, toleranceOfScore(rank));
    const double logProb = choice_.logProbs ? logits_[taken.token] - logSum_ : 0.0;
    CHECK_NEAR(taken.logProb, logProb, toleranceOfScore(logProb));
  }

  void checkBest(std::span<const ChosenToken> chosen) const {
    const double best = scores_[ranked_[0]];
    CHECK(best - scores_[chosen[0].token] <= slack(best));
    if (!choice_.logSoftmaxFirst) CHECK_EQUAL(chosen[0].token, ranked_[0]);
  }

  void checkDraws(std::span<const ChosenToken> chosen) const {
    const double total = massKept(Kept::maybe);
    const double sure = massKept(Kept::yes);
    const double tolerance = kTolerance + (total - sure) / sure;
    for (std::size_t i = 0; i < chosen.size(); ++i) {
      CHECK(chosen[i].token >= 0);
      if (chosen[i].token < 0) return;
      double before = 0.0;
      for (std::int32_t token = 0; token < chosen[i].token; ++token) {
        if (kept_[token] != Kept::no) before += mass(token);
      }
      const double uniform = lists_.uniforms[choice_.uniforms.begin + i];
      CHECK(before / total - tolerance <= uniform);
      CHECK((before + mass(chosen[i].token)) / total + tolerance >= uniform);
    }
  }

  void checkCandidates(std::span<const ChosenToken> chosen) const {
    std::vector<double> sure;
    std::size_t possible = 0;
    for (const std::int32_t token : ranked_) {
      if (kept_[token] == Kept::yes) sure.push_back(rankOf(token));
      possible += kept_[token] != Kept::no;
    }
    std::sort(sure.begin(), sure.end(), std::greater<>());
    Tokens tokens;
    for (std::size_t i = 0; i < chosen.size() && chosen[i].token >= 0; ++i) {
      tokens.push_back(chosen[i].token);
      if (i < sure.size()) {
        CHECK(chosen[i].rank >= sure[i] - 2 * toleranceOfScore(sure[i]));
      }
      if (i == 0) continue;
      const ChosenToken& before = chosen[i - 1];
      CHECK(before.rank > chosen[i].rank ||
            (before.rank == chosen[i].rank && before.token < chosen[i].token));
    }
    const std::size_t count = tokens.size();
    CHECK(count >= std::min(chosen.size(), sure.size()));
    CHECK(count <= possible);
    for (std::size_t i = count; i < chosen.size(); ++i) CHECK_EQUAL(chosen[i].token, kNoToken);
    std::sort(tokens.begin(), tokens.end());
    CHECK(std::adjacent_find(tokens.begin(), tokens.end()) == tokens.end());
  }

  const RowChoice& choice_;
  const TokenChoices& lists_;
  const std::vector<float>& logits_;
  bool isUsable_ = true;
  double max_ = -kInfinity;
  double logSum_ = 0.0;
  std::vector<float> scores_;  // processed, without the offset
  Tokens ranked_;              // allowed tokens, best first
  std::vector<Kept> kept_;
};

// ---------------------------------------------------------------------------- rows

enum class Logits : std::uint8_t { normal, tied, equal, wide, narrow, spoilt, forbidden };

struct RowsSpec {
  std::int64_t rows = 1;
  std::int64_t vocab = 1;
  Logits logits = Logits::normal;
  std::int64_t rowGap = 0;
};

std::string nameOf(const RowsSpec& spec) {
  constexpr const char* kNames[] = {"normal", "tied",   "equal",    "wide",
                                    "narrow", "spoilt", "forbidden"};
  return std::to_string(spec.rows) + " x " + std::to_string(spec.vocab) + ", " +
         kNames[static_cast<int>(spec.logits)] + " logits, gap " + std::to_string(spec.rowGap);
}

float drawLogit(Random& random, Logits logits) {
  const bool isForbidden = random.integer(0, 7) == 0;
  if (isForbidden && logits != Logits::equal) return -std::numeric_limits<float>::infinity();
  const auto normal = static_cast<float>(random.normal());
  switch (logits) {
    case Logits::tied:
      return std::round(4.0f * normal);
    case Logits::equal:
      return 1.25f;
    case Logits::wide:
      return 1e4f * normal;
    case Logits::narrow:
      return 100.0f + 1e-3f * normal;
    case Logits::normal:
    case Logits::spoilt:
    case Logits::forbidden:
      return 3.0f * normal;
  }
  return 0.0f;
}

std::vector<float> drawRow(Random& random, const RowsSpec& spec) {
  std::vector<float> row(static_cast<std::size_t>(spec.vocab));
  for (float& logit : row) logit = drawLogit(random, spec.logits);
  const auto place = static_cast<std::size_t>(random.integer(0, spec.vocab - 1));
  constexpr float kInfinite = std::numeric_limits<float>::infinity();
  if (spec.logits == Logits::spoilt) {
    if (random.integer(0, 2) == 0) std::fill(row.begin(), row.end(), -kInfinite);
    row[place] =
        random.oneOf({kInfinite, std::numeric_limits<float>::quiet_NaN(), -kInfinite, 1.0f});
  } else if (row[place] == -kInfinite) {
    row[place] = 0.5f;
  }
  return row;
}

/// Choices of some rows, and what they refer to.
struct DrawnChoices {
  std::vector<RowChoice> rows;
  Tokens tokens;
  std::vector<double> uniforms;
  std::int64_t results = 0;

  TokenChoices view() const { return {rows, tokens, uniforms}; }
};

ListRange drawTokens(Random& random, std::int64_t count, std::int64_t vocab, Tokens& tokens) {
  ListRange range{static_cast<std::int32_t>(tokens.size()), 0};
  for (; count > 0; --count) {
    tokens.push_back(static_cast<std::int32_t>(random.integer(0, vocab - 1)));
  }
  range.end = static_cast<std::int32_t>(tokens.size());
  return range;
}

ListRange allTokens(std::int64_t vocab, Tokens& tokens) {
  ListRange range{static_cast<std::int32_t>(tokens.size()), 0};
  for (std::int64_t i = 0; i < vocab; ++i) tokens.push_back(static_cast<std::int32_t>(i));
  range.end = static_cast<std::int32_t>(tokens.size());
  return range;
}

void drawProcessors(Random& random, const RowsSpec& spec, DrawnChoices& drawn, RowChoice& choice) {
  choice.logSoftmaxFirst = random.integer(0, 2) == 0;
  choice.logProbs = random.coin();
  choice.repetitionPenalty = random.oneOf({1.0f, 1.3f, 0.7f});
  choice.penalised = drawTokens(random, random.oneOf({0, 3, 700}), spec.vocab, drawn.tokens);
  choice.forbidden =
      spec.logits == Logits::forbidden && random.coin()
          ? allTokens(spec.vocab, drawn.tokens)
          : drawTokens(random, random.oneOf({0, 0, 2, 50}), spec.vocab, drawn.tokens);
}

void drawFilters(Random& random, RowChoice& choice) {
  choice.temperature = random.oneOf({1.0f, 1.0f, 0.6f, 3.0f});
  choice.topK = random.oneOf({0, 0, 1, 50, 50, 2000});
  choice.minTokens = random.oneOf({1, 1, 1, 2, 5});
  choice.topP = random.oneOf({1.0, 1.0, 0.9, 0.3, 0.999});
  choice.minP = random.oneOf({0.0, 0.0, 0.01, 0.5});
}

void addUniforms(Random& random, DrawnChoices& drawn, RowChoice& choice) {
  choice.uniforms.begin = static_cast<std::int32_t>(drawn.uniforms.size());
  drawn.uniforms.insert(drawn.uniforms.end(), {0.0, 1.0 - 0x1.0p-53});
  for (std::int64_t i = random.integer(1, 5); i > 0; --i) {
    drawn.uniforms.push_back(static_cast<double>(random.bits()) * 0x1.0p-32);
  }
  choice.uniforms.end = static_cast<std::int32_t>(drawn.uniforms.size());
  choice.count = choice.uniforms.end - choice.uniforms.begin;
}

void drawCandidates(Random& random, RowChoice& choice) {
  choice.count = random.oneOf({1, 2, 8, 8, 15, 200, 1500});
  choice.offset = random.oneOf({0.0f, -2.25f, -70.5f});
  choice.seed = std::uint64_t{random.bits()} << 20;
  choice.stream = (std::uint64_t{1} << 32) + random.bits();
  choice.noiseRow = static_cast<std::uint32_t>(random.integer(0, 5));
}

/// Each of the ways to take tokens in turn; rows are chosen from in another order than they lie in.
DrawnChoices drawChoices(Random& random, const RowsSpec& spec) {
  DrawnChoices drawn;
  for (std::int64_t i = 0; i < spec.rows; ++i) {
    RowChoice choice;
    choice.row = static_cast<std::int32_t>(spec.rows - 1 - i);
    choice.take = static_cast<Take>(i % 4);
    drawProcessors(random, spec, drawn, choice);
    if (choice.take != Take::candidates || random.integer(0, 3) == 0) drawFilters(random, choice);
    if (choice.take == Take::draws) addUniforms(random, drawn, choice);
    if (i % 4 >= 2) drawCandidates(random, choice);
    choice.firstResult = drawn.results;
    drawn.results += choice.count;
    drawn.rows.push_back(choice);
  }
  return drawn;
}

// ---------------------------------------------------------------------------- cases

/// Runs the operation on a copy of the logits.
std::vector<ChosenToken> choose(Ops& ops, const RowsSpec& spec,
                                const std::vector<std::vector<float>>& rows,
                                const DrawnChoices& drawn, bool inStep) {
  constexpr std::int64_t kGuard = 64;
  const auto guard = kGuard + (spec.rowGap % 2) * std::int64_t{sizeof(float)};
  GuardedTensor logits("logits", Role::cache,
                       {DType::float32, {spec.rows, spec.vocab}, spec.rowGap}, guard);
  GuardedTensor chosen("chosen", Role::cache, {DType::int8, {drawn.results, sizeof(ChosenToken)}},
                       kGuard);
  reference::Wide values;
  for (const auto& row : rows) values.insert(values.end(), row.begin(), row.end());
  reference::store(values, logits.view());
  const ChooseTokens p{
      .logits = logits.place(ops), .choices = drawn.view(), .chosen = chosen.place(ops)};
  if (inStep) ops.beginStep();
  ops.chooseTokens(p);
  if (inStep) ops.endStep();
  logits.collect(ops);
  chosen.collect(ops);
  for (const GuardedTensor* tensor : {&logits, &chosen}) {
    if (!tensor->damage().empty()) fail(tensor->name() + " is " + tensor->damage());
  }
  std::vector<ChosenToken> result(static_cast<std::size_t>(drawn.results));
  const std::string bits = chosen.bits();
  if (!bits.empty()) std::memcpy(result.data(), bits.data(), bits.size());
  return result;
}

OpCase tokensCase(const RowsSpec& spec) {
  const auto run = [spec](Ops& ops, CaseTensors& tensors) {
    std::vector<std::vector<float>> rows;
    for (std::int64_t i = 0; i < spec.rows; ++i) rows.push_back(drawRow(tensors.random(), spec));
    const DrawnChoices drawn = drawChoices(tensors.random(), spec);
    const auto chosen = choose(ops, spec, rows, drawn, false);
    const auto again = choose(ops, spec, rows, drawn, true);
    if (chosen.empty()) return;
    CHECK(std::memcmp(chosen.data(), again.data(), chosen.size() * sizeof(ChosenToken)) == 0);
    const TokenChoices lists = drawn.view();
    for (const RowChoice& choice : drawn.rows) {
      const int failures = failuresOfRunningTest();
      const auto place = static_cast<std::size_t>(choice.firstResult);
      PlainRow(choice, lists, rows[static_cast<std::size_t>(choice.row)])
          .check(std::span(chosen).subspan(place, static_cast<std::size_t>(choice.count)));
      if (failuresOfRunningTest() > failures) {
        note(std::string(ops.name()) + ", row " + std::to_string(choice.row));
      }
    }
  };
  return {.name = nameOf(spec), .run = run, .needs = {}};
}

}  // namespace

std::vector<OpRow> tokenRows() {
  OpRow row{
      .op = "chooseTokens", .cases = {}, .randomCase = [](Random& random) {
        return tokensCase({random.integer(1, 12), random.integer(1, 3000),
                           random.oneOf({Logits::normal, Logits::tied, Logits::equal, Logits::wide,
                                         Logits::narrow, Logits::spoilt, Logits::forbidden}),
                           random.integer(0, 3)});
      }};
  row.cases.push_back(tokensCase({.rows = 0, .vocab = 7}));
  for (const Logits logits : {Logits::normal, Logits::tied, Logits::equal, Logits::wide,
                              Logits::narrow, Logits::spoilt, Logits::forbidden}) {
    for (const RowsSpec& spec : {RowsSpec{8, 1}, RowsSpec{32, 5}, RowsSpec{32, 100},
                                 RowsSpec{24, 1000}, RowsSpec{8, 33000}}) {
      row.cases.push_back(tokensCase({spec.rows, spec.vocab, logits, spec.vocab == 100 ? 3 : 0}));
    }
  }
  return {row};
}

}  // namespace wgqa::test
