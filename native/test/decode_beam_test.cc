// Beam search against an independent, literal re-implementation of Hugging Face's, and against
// exhaustive enumeration.
#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "decode/step_choices.h"
#include "decode/strategy.h"
#include "ops/host_ops.h"
#include "test/decode_fake_model.h"
#include "test/harness.h"

namespace wgqa {
namespace {

using Tokens = std::vector<std::int32_t>;

// Scores sum up to ten log-probabilities of about -3 in float32 here, in double there.
constexpr double kScoreTolerance = 2e-5;

std::vector<double> logSoftmax(const std::vector<float>& logits) {
  double sum = 0.0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit));
  std::vector<double> result;
  for (const float logit : logits) result.push_back(logit - std::log(sum));
  return result;
}

/// _beam_search of transformers for one input, in its own terms: every beam is recomputed from its
/// whole history, missing beams are copies at -1e9, and everything is sorted in full.
class LiteralBeamSearch {
 public:
  LiteralBeamSearch(const test::FakeModel& model, const GenerationRequest& request)
      : model_(model), source_(request.inputIds), o_(request.options) {}

  std::vector<GeneratedSequence> run() {
    const auto beams = static_cast<std::size_t>(o_.numBeams);
    std::vector<Item> running(beams, Item{{o_.decoderStartTokenId}, -1e9});
    running[0].score = 0.0;
    std::vector<Item> done(beams, Item{{}, -1e9});
    for (std::int64_t length = 1;; ++length) {
      const std::vector<Item> top = topCandidates(running);
      std::vector<Item> merged = done;
      std::vector<Item> going;
      for (std::size_t i = 0; i < top.size(); ++i) {
        const bool hit = length >= o_.maxNewTokens || isEnd(top[i].tokens.back());
        if (hit && i < beams) {
          merged.push_back(top[i]);
          merged.back().score /= std::pow(static_cast<double>(length), o_.lengthPenalty);
          merged.back().finished = true;
        }
        if (!hit) going.push_back(top[i]);
      }
      done = best(merged, beams);
      running = best(going, beams);
      if (running.empty() || isDone(running, done, length)) break;
    }
    return results(done);
  }

 private:
  struct Item {
    Tokens tokens;
    double score;
    bool finished = false;
  };

  static std::vector<Item> best(std::vector<Item> items, std::size_t count) {
    std::stable_sort(items.begin(), items.end(),
                     [](const Item& a, const Item& b) { return a.score > b.score; });
    if (items.size() > count) items.resize(count);
    return items;
  }

  bool isEnd(std::int32_t token) const {
    return std::count(o_.eosTokenIds.begin(), o_.eosTokenIds.end(), token) > 0;
  }

  void process(const Tokens& history, std::vector<double>& scores) const {
    for (const std::int32_t token : std::set<std::int32_t>(history.begin(), history.end())) {
      if (scores[token] < 0) {
        scores[token] *= o_.repetitionPenalty;
      } else {
        scores[token] /= o_.repetitionPenalty;
      }
    }
    for (std::size_t token = 0; token < scores.size(); ++token) {
      Tokens longer = history;
      longer.push_back(static_cast<std::int32_t>(token));
      const bool tooEarly = static_cast<std::int64_t>(history.size()) - 1 < o_.minNewTokens;
      if (repeatsNgram(longer) || (tooEarly && isEnd(longer.back()))) {
        scores[token] = -std::numeric_limits<double>::infinity();
      }
    }
  }

  bool repeatsNgram(const Tokens& tokens) const {
    const auto n = static_cast<std::size_t>(o_.noRepeatNgramSize);
    if (n == 0 || tokens.size() <= n) return false;
    const Tokens last(tokens.end() - static_cast<std::ptrdiff_t>(n), tokens.end());
    const auto found = std::search(tokens.begin(), tokens.end() - 1, last.begin(), last.end());
    return found != tokens.end() - 1;
  }

  std::vector<Item> topCandidates(const std::vector<Item>& running) const {
    std::vector<Item> all;
    for (const Item& beam : running) {
      std::vector<double> scores = logSoftmax(model_.logitsOf(source_, beam.tokens));
      process(beam.tokens, scores);
      for (std::size_t token = 0; token < scores.size(); ++token) {
        all.push_back({beam.tokens, beam.score + scores[token]});
        all.back().tokens.push_back(static_cast<std::int32_t>(token));
      }
    }
    const std::size_t ends = o_.eosTokenIds.size();
    return best(all, std::max<std::size_t>(2, 1 + ends) * static_cast<std::size_t>(o_.numBeams));
  }

  bool isDone(const std::vector<Item>& running, const std::vector<Item>& done,
              std::int64_t length) const {
    const bool full =
        std::all_of(done.begin(), done.end(), [](auto& item) { return item.finished; });
    if (full && o_.earlyStopping == EarlyStopping::yes) return true;
    if (o_.earlyStopping == EarlyStopping::never && o_.lengthPenalty > 0.0)
      length = o_.maxNewTokens;
    const double possible =
        running[0].score / std::pow(static_cast<double>(length), o_.lengthPenalty);
    for (const Item& item : done) {
      if (possible > (item.finished ? done.back().score : -1e9)) return false;
    }
    return true;
  }

  std::vector<GeneratedSequence> results(const std::vector<Item>& done) const {
    std::vector<GeneratedSequence> sequences;
    for (std::int64_t i = 0; i < o_.numReturnSequences; ++i) {
      if (!done[i].finished) continue;
      GeneratedSequence& sequence = sequences.emplace_back();
      sequence.tokenIds.assign(done[i].tokens.begin() + 1, done[i].tokens.end());
      sequence.score = static_cast<float>(done[i].score);
      const bool stopped = isEnd(sequence.tokenIds.back());
      sequence.finishReason = stopped ? FinishReason::stop : FinishReason::length;
    }
    return sequences;
  }

  const test::FakeModel& model_;
  Tokens source_;
  const GenerationOptions& o_;
};

template <typename T>
T pick(std::mt19937& random, std::initializer_list<T> choices) {
  return *(choices.begin() + random() % choices.size());
}

GenerationRequest randomBeamRequest(std::mt19937& random) {
  GenerationRequest request = test::makeRequest({3, 5}, 1 + random() % 10);
  GenerationOptions& o = request.options;
  o.numBeams = 2 + random() % 4;
  o.numReturnSequences = 1 + random() % o.numBeams;
  o.lengthPenalty = pick(random, {-0.5, 0.0, 0.6, 1.0, 2.0});
  o.earlyStopping = pick(random, {EarlyStopping::no, EarlyStopping::yes, EarlyStopping::never});
  o.minNewTokens = random() % 3 == 0 ? static_cast<std::int64_t>(random() % o.maxNewTokens) : 0;
  o.noRepeatNgramSize = pick<std::int64_t>(random, {0, 0, 2, 3});
  o.repetitionPenalty = pick(random, {1.0, 1.0, 1.7});
  o.eosTokenIds = pick<Tokens>(random, {{1}, {1}, {1, 2}, {}});
  return request;
}

WGQA_TEST(decodeBeamSearchEqualsTheLiteralOne) {
  constexpr std::uint32_t kSeeds = 600;
  for (std::uint32_t seed = 0; seed < kSeeds; ++seed) {
    std::mt19937 random(seed);
    test::FakeModel::Options modelOptions;
    modelOptions.seed = seed;
    modelOptions.vocab = 8 + random() % 17;
    modelOptions.spread = pick(random, {0.5f, 2.0f, 6.0f});
    modelOptions.endBias = pick(random, {-1.0f, 0.0f, 2.0f});
    test::FakeModel model(modelOptions);
    const GenerationRequest request = randomBeamRequest(random);
    const auto expected = LiteralBeamSearch(model, request).run();
    test::checkSameSequences(test::decodeAlone(model, request), expected, kScoreTolerance);
    if (test::failuresOfRunningTest() > 0) {
      test::note("seed " + std::to_string(seed));
      return;
    }
  }
}

/// Calls visit(tokens, sum of log-probabilities) for each sequence that ends.
template <typename Visit>
void enumerate(const test::FakeModel& model, const GenerationRequest& request, Tokens history,
               double sum, const Visit& visit) {
  const auto scores = logSoftmax(model.logitsOf(request.inputIds, history));
  for (std::size_t token = 0; token < scores.size(); ++token) {
    Tokens longer = history;
    longer.push_back(static_cast<std::int32_t>(token));
    const auto length = static_cast<std::int64_t>(longer.size()) - 1;
    const double total = sum + scores[token];
    if (request.options.isEos(longer.back()) || length == request.options.maxNewTokens) {
      visit(Tokens(longer.begin() + 1, longer.end()), total);
    } else {
      enumerate(model, request, longer, total, visit);
    }
  }
}

WGQA_TEST(decodeEnoughBeamsFindTheBestSequence) {
  for (std::uint32_t seed = 0; seed < 50; ++seed) {
    test::FakeModel model({.vocab = 4, .seed = seed});
    GenerationRequest request = test::makeRequest({3}, 3);
    request.options.numBeams = 64;  // all there are: 4^3
    request.options.lengthPenalty = 0.8;
    request.options.earlyStopping = EarlyStopping::never;
    double best = -1e9;
    Tokens bestTokens;
    enumerate(model, request, {0}, 0.0, [&](const Tokens& tokens, double sum) {
      const double score = sum / std::pow(static_cast<double>(tokens.size()), 0.8);
      if (score > best) best = score, bestTokens = tokens;
    });
    const auto found = test::decodeAlone(model, request);
    CHECK_EQUAL(found.size(), 1u);
    CHECK(found[0].tokenIds == bestTokens);
    CHECK_NEAR(*found[0].score, best, kScoreTolerance);
  }
}

/// Runs a strategy without cache or batch.
std::vector<GeneratedSequence> drive(const test::FakeModel& model, Strategy& strategy,
                                     const Tokens& source) {
  StepChoices choices(model.vocabSize());
  std::vector<Tokens> histories(1);
  while (!strategy.continuations().empty()) {
    std::vector<Tokens> next;
    for (const Continuation& continuation : strategy.continuations()) {
      next.push_back(histories[continuation.parent]);
      next.back().push_back(continuation.token);
    }
    histories = next;
    choices.clear();
    std::vector<float> all;
    for (std::size_t row = 0; row < histories.size(); ++row) {
      CHECK(std::ranges::equal(strategy.history(static_cast<std::int64_t>(row)), histories[row]));
      const std::vector<float> logits = model.logitsOf(source, histories[row]);
      all.insert(all.end(), logits.begin(), logits.end());
      choices.add(strategy, static_cast<std::int64_t>(row), static_cast<std::int64_t>(row));
    }
    HostTokenChooser().run(
        {.logits =
             TensorView(all.data(), DType::float32, {std::ssize(histories), model.vocabSize()}),
         .choices = choices.view(),
         .chosen = TensorView(choices.chosen().data(), DType::int8,
                              {std::ssize(choices.chosen()), sizeof(ChosenToken)})});
    choices.deliver();
    strategy.advance();
  }
  return strategy.takeSequences();
}

WGQA_TEST(decodeOneBeamIsGreedy) {
  for (std::uint32_t seed = 0; seed < 100; ++seed) {
    const test::FakeModel model({.seed = seed, .endBias = 1.0f});
    GenerationRequest request = test::makeRequest({4}, 12);
    GenerationOptions& options = request.options;
    options.noRepeatNgramSize = seed % 3;
    options.repetitionPenalty = 1.0;
    options.logProbs = true;
    const auto beam = drive(model, *makeBeamStrategy(request), {4});
    auto greedy = drive(model, *makeSamplingStrategy(request, {}), {4});
    CHECK_EQUAL(beam.size(), 1u);
    CHECK(beam[0].tokenIds == greedy[0].tokenIds);
    CHECK(beam[0].finishReason == greedy[0].finishReason);
    double sum = 0.0;
    for (std::size_t i = 0; i < beam[0].logProbs.size(); ++i) {
      // The same number, rounded once in each order of operations.
      CHECK_NEAR(beam[0].logProbs[i], greedy[0].logProbs[i], 1e-6);
      sum += beam[0].logProbs[i];
    }
    CHECK_NEAR(*beam[0].score, sum / static_cast<double>(beam[0].tokenIds.size()), 1e-5);
  }
}

WGQA_TEST(decodeBeamSamplesAreScoredDraws) {
  std::set<Tokens> different;
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    test::FakeModel model({.spread = 1.0f});
    GenerationRequest request = test::makeRequest({3, 7}, 6);
    request.options.numBeams = 3;
    request.options.numReturnSequences = 3;
    request.options.doSample = true;
    request.options.topK = 0;
    request.options.seed = seed;
    request.options.logProbs = true;
    const auto sequences = test::decodeAlone(model, request);
    CHECK_EQUAL(sequences.size(), 3u);
    test::checkSameSequences(test::decodeAlone(model, request), sequences);
    for (std::size_t i = 0; i < sequences.size(); ++i) {
      different.insert(sequences[i].tokenIds);
      double sum = 0.0;
      for (const float logProb : sequences[i].logProbs) sum += logProb;
      const auto length = static_cast<double>(sequences[i].tokenIds.size());
      CHECK_NEAR(*sequences[i].score, sum / length, 1e-5);
      if (i > 0) CHECK(*sequences[i].score <= *sequences[i - 1].score);
    }
  }
  // 120 of 24^6 sequences at a flat distribution: draws, not one search result.
  CHECK(different.size() > 100);
}

WGQA_TEST(decodeBeamsEndWhenNoTokenIsAllowed) {
  // Each token once: three of four are left after the start token, none of them ends.
  test::FakeModel model({.vocab = 4});
  GenerationRequest request = test::makeRequest({3}, 10);
  request.options.eosTokenIds = {};
  request.options.noRepeatNgramSize = 1;
  request.options.numBeams = 2;
  request.options.numReturnSequences = 2;
  const auto sequences = test::decodeAlone(model, request);
  CHECK_EQUAL(sequences.size(), 2u);
  for (const GeneratedSequence& sequence : sequences) {
    CHECK_EQUAL(sequence.tokenIds.size(), 3u);
    CHECK(sequence.finishReason == FinishReason::blocked);
  }
}

}  // namespace
}  // namespace wgqa
