// Beam search and beam sampling, step for step what Hugging Face's transformers
// (generation/utils.py, _beam_search, v4.50 to v5) computes for one input. Where it fills missing
// beams with copies that score -1e9, there are simply fewer beams here: the first step has one.
#include <algorithm>
#include <cmath>
#include <utility>

#include "decode/random_draw.h"
#include "decode/strategy.h"

namespace wgqa {
namespace {

struct Beam {
  std::vector<std::int32_t> history;      // the decoder's prompt and generated tokens
  std::vector<float> logProbs;            // of the generated tokens, if asked for
  std::vector<ScoredToken> alternatives;  // of the generated tokens, if asked for
  StopState stopState;
  float score = 0.0f;  // sum of processed log-probabilities
};

struct Candidate {
  float rank;   // the order in which candidates count: the score, or the perturbed score
  float score;  // of the beam with this token
  float logProb;
  std::int32_t beam;
  std::int32_t token;
};

bool comesBefore(const Candidate& a, const Candidate& b) {
  if (a.rank != b.rank) return a.rank > b.rank;
  return a.beam != b.beam ? a.beam < b.beam : a.token < b.token;
}

struct Hypothesis {
  GeneratedSequence sequence;
  float score;  // sum / length^lengthPenalty
};

class BeamStrategy final : public Strategy {
 public:
  explicit BeamStrategy(const GenerationRequest& request)
      : options_(request.options),
        stops_(request.stops),
        candidatesOfRow_(request.candidatesOfRow()),
        candidatesOfStep_(request.candidatesOfStep()),
        ends_(options_.eosTokenIds),
        beams_(1),
        candidatesOfBeam_(static_cast<std::size_t>(options_.numBeams)),
        alternativesOfBeam_(static_cast<std::size_t>(options_.numBeams)),
        usable_(static_cast<std::size_t>(options_.numBeams), true) {
    std::sort(ends_.begin(), ends_.end());
    beams_[0].history = request.decoderPrompt();
    beams_[0].stopState = stops_.after(beams_[0].history);
    promptTokens_ = static_cast<std::int64_t>(beams_[0].history.size());
    continuations_.push_back({0, beams_[0].history.back()});
  }

  std::span<const Continuation> continuations() const override { return continuations_; }

  std::span<const std::int32_t> history(std::int64_t row) const override {
    return beams_[static_cast<std::size_t>(row)].history;
  }

  std::int64_t promptTokens() const override { return promptTokens_; }

  RowChoice choiceOf(std::int64_t row, ChoiceLists& lists) const override {
    RowChoice choice = processorsOf(options_, history(row), promptTokens_, lists);
    choice.logSoftmaxFirst = true;
    choice.take = options_.doSample ? Take::drawnCandidates : Take::candidates;
    choice.count = static_cast<std::int32_t>(candidatesOfRow_);
    choice.seed = options_.seed;
    choice.stream = kBeamStream + static_cast<std::uint64_t>(generated_);
    choice.noiseRow = static_cast<std::uint32_t>(row);
    choice.offset = beams_[static_cast<std::size_t>(row)].score;
    return choice;
  }

  void take(std::int64_t row, std::span<const ChosenToken> chosen) override {
    const auto place = static_cast<std::size_t>(row);
    std::vector<Candidate>& candidates = candidatesOfBeam_[place];
    candidates.clear();
    usable_[place] = chosen[0].token != kUnusableRow;
    for (const ChosenToken& taken : chosen) {
      if (taken.token < 0) break;
      candidates.push_back(
          {taken.rank, taken.score, taken.logProb, static_cast<std::int32_t>(row), taken.token});
    }
  }

  void takeAlternatives(std::int64_t row, std::span<const ScoredToken> alternatives) override {
    alternativesOfBeam_[static_cast<std::size_t>(row)].assign(alternatives.begin(),
                                                              alternatives.end());
  }

  void setLastStep() override { isLastStep_ = true; }

  void advance() override {
    gatherCandidates();
    if (candidates_.empty()) return giveUp();
    ++generated_;
    finishCandidates();
    continueCandidates();
    if (beams_.empty() || isDone()) stop();
  }

  std::vector<GeneratedSequence> takeSequences() override {
    std::vector<GeneratedSequence> sequences;
    const auto wanted = static_cast<std::size_t>(options_.numReturnSequences);
    for (Hypothesis& hypothesis : finished_) {
      if (sequences.size() == wanted) break;
      sequences.push_back(std::move(hypothesis.sequence));
    }
    return sequences;
  }

 private:
  float normalised(float score, std::int64_t length) const {
    return score /
           static_cast<float>(std::pow(static_cast<double>(length), options_.lengthPenalty));
  }

  /// The best candidates of all beams, in the order in which they count.
  void gatherCandidates() {
    candidates_.clear();
    for (std::size_t row = 0; row < beams_.size(); ++row) {
      if (!usable_[row]) throw nonFiniteLogits();
      candidates_.insert(candidates_.end(), candidatesOfBeam_[row].begin(),
                         candidatesOfBeam_[row].end());
    }
    std::sort(candidates_.begin(), candidates_.end(), comesBefore);
    if (std::ssize(candidates_) > candidatesOfStep_) {
      candidates_.resize(static_cast<std::size_t>(candidatesOfStep_));
    }
  }

  /// Whether the candidate's token is an end token or completes a stop string.
  bool stops(const Candidate& candidate) const {
    return std::binary_search(ends_.begin(), ends_.end(), candidate.token) ||
           stops_.wouldStop(beams_[candidate.beam].stopState, candidate.token);
  }

  bool ends(const Candidate& candidate) const {
    return generated_ >= options_.maxNewTokens || isLastStep_ || stops(candidate);
  }

  FinishReason reasonOf(const Candidate& candidate) const {
    if (stops(candidate)) return FinishReason::stop;
    return generated_ >= options_.maxNewTokens ? FinishReason::length : FinishReason::time;
  }

  /// An ending among the first numBeams candidates becomes a hypothesis.
  void finishCandidates() {
    const auto first = std::min(candidates_.size(), static_cast<std::size_t>(options_.numBeams));
    for (std::size_t i = 0; i < first; ++i) {
      const Candidate& candidate = candidates_[i];
      if (!ends(candidate)) continue;
      Beam beam;
      extend(candidate, beam);
      addHypothesis(std::move(beam), reasonOf(candidate));
    }
  }

  void addHypothesis(Beam&& beam, FinishReason reason) {
    Hypothesis hypothesis;
    // A forced prefix does not count (transformers subtracts decoder_prompt_len).
    const std::int64_t length = static_cast<std::int64_t>(beam.history.size()) - promptTokens_;
    hypothesis.score = normalised(beam.score, std::max<std::int64_t>(length, 1));
    hypothesis.sequence.tokenIds.assign(beam.history.begin() + 1, beam.history.end());
    hypothesis.sequence.logProbs = std::move(beam.logProbs);
    hypothesis.sequence.alternatives = std::move(beam.alternatives);
    hypothesis.sequence.score = hypothesis.score;
    hypothesis.sequence.finishReason = reason;
    // Behind its equals, and only the best numBeams stay.
    const auto place =
        std::upper_bound(finished_.begin(), finished_.end(), hypothesis.score,
                         [](float score, const Hypothesis& other) { return score > other.score; });
    finished_.insert(place, std::move(hypothesis));
    if (isFull(1)) finished_.pop_back();
  }

  bool isFull(std::size_t beyond = 0) const {
    return finished_.size() >= static_cast<std::size_t>(options_.numBeams) + beyond;
  }

  /// Writes a candidate's beam into `beam`, whose memory is reused.
  void extend(const Candidate& candidate, Beam& beam) const {
    const Beam& parent = beams_[candidate.beam];
    beam.history.assign(parent.history.begin(), parent.history.end());
    beam.history.push_back(candidate.token);
    beam.logProbs.assign(parent.logProbs.begin(), parent.logProbs.end());
    if (options_.logProbs) beam.logProbs.push_back(candidate.logProb);
    if (options_.topLogProbs > 0) {
      const std::vector<ScoredToken>& newest = alternativesOfBeam_[candidate.beam];
      beam.alternatives.assign(parent.alternatives.begin(), parent.alternatives.end());
      beam.alternatives.insert(beam.alternatives.end(), newest.begin(), newest.end());
    }
    beam.stopState = parent.stopState;
    stops_.push(beam.stopState, candidate.token);
    beam.score = candidate.score;
  }

  /// The numBeams best candidates that do not end become the beams.
  void continueCandidates() {
    std::erase_if(candidates_, [this](const Candidate& candidate) { return ends(candidate); });
    if (options_.doSample) {
      std::stable_sort(candidates_.begin(), candidates_.end(),
                       [](const Candidate& a, const Candidate& b) { return a.score > b.score; });
    }
    const auto count = std::min(candidates_.size(), static_cast<std::size_t>(options_.numBeams));
    continuations_.clear();
    nextBeams_.resize(count);
    for (std::size_t i = 0; i < count; ++i) {
      extend(candidates_[i], nextBeams_[i]);
      continuations_.push_back({candidates_[i].beam, candidates_[i].token});
    }
    std::swap(beams_, nextBeams_);
  }

  bool isDone() const {
    if (!isFull()) return false;
    if (options_.earlyStopping == EarlyStopping::yes) return true;
    const bool longest =
        options_.earlyStopping == EarlyStopping::never && options_.lengthPenalty > 0.0;
    const std::int64_t length = longest ? options_.maxNewTokens : generated_;
    return !(normalised(beams_.front().score, length) > finished_.back().score);
  }

  /// No beam has an allowed token left: the beams themselves are what can be returned.
  void giveUp() {
    for (Beam& beam : beams_) addHypothesis(std::move(beam), FinishReason::blocked);
    stop();
  }

  void stop() {
    beams_.clear();
    continuations_.clear();
  }

  const GenerationOptions& options_;
  const StopStrings& stops_;
  std::int64_t candidatesOfRow_;
  std::int64_t candidatesOfStep_;
  std::vector<std::int32_t> ends_;  // ascending
  bool isLastStep_ = false;
  std::int64_t promptTokens_ = 1;
  std::int64_t generated_ = 0;  // tokens of each beam
  std::vector<Beam> beams_;     // best first
  std::vector<Beam> nextBeams_;
  std::vector<std::vector<Candidate>> candidatesOfBeam_;
  std::vector<std::vector<ScoredToken>> alternativesOfBeam_;
  std::vector<bool> usable_;
  std::vector<Candidate> candidates_;
  std::vector<Hypothesis> finished_;  // best first, at most numBeams
  std::vector<Continuation> continuations_;
};

}  // namespace

std::unique_ptr<Strategy> makeBeamStrategy(const GenerationRequest& request) {
  return std::make_unique<BeamStrategy>(request);
}

}  // namespace wgqa
