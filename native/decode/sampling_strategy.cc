// Greedy decoding and sampling: sequences that do not know of each other.
#include <algorithm>
#include <numeric>
#include <utility>

#include "decode/random_draw.h"
#include "decode/strategy.h"

namespace wgqa {
namespace {

class SamplingStrategy final : public Strategy {
 public:
  SamplingStrategy(const GenerationRequest& request, TokenCallback onToken)
      : options_(request.options),
        stops_(request.stops),
        onToken_(std::move(onToken)),
        samples_(static_cast<std::size_t>(options_.numReturnSequences)),
        live_(samples_.size()) {
    const std::vector<std::int32_t> prompt = request.decoderPrompt();
    promptTokens_ = static_cast<std::int64_t>(prompt.size());
    continuations_.push_back({0, prompt.back()});
    std::iota(live_.begin(), live_.end(), 0);
    for (Sample& sample : samples_) {
      sample.history = prompt;
      sample.stopState = stops_.after(prompt);
    }
  }

  std::span<const Continuation> continuations() const override { return continuations_; }

  std::span<const std::int32_t> history(std::int64_t row) const override {
    return samples_[samplesOfRow(row).front()].history;
  }

  std::int64_t promptTokens() const override { return promptTokens_; }

  RowChoice choiceOf(std::int64_t row, ChoiceLists& lists) const override {
    RowChoice choice = processorsOf(options_, history(row), promptTokens_, lists);
    if (!options_.doSample) return choice;
    choice.take = Take::draws;
    choice.uniforms.begin = static_cast<std::int32_t>(lists.uniforms.size());
    for (const std::size_t index : samplesOfRow(row)) {
      lists.uniforms.push_back(
          sampleUniform(options_.seed, static_cast<std::uint32_t>(index),
                        static_cast<std::uint32_t>(generated(samples_[index]))));
    }
    choice.uniforms.end = static_cast<std::int32_t>(lists.uniforms.size());
    choice.count = choice.uniforms.end - choice.uniforms.begin;
    return choice;
  }

  void take(std::int64_t row, std::span<const ChosenToken> chosen) override {
    const auto readers = samplesOfRow(row);
    for (std::size_t i = 0; i < readers.size(); ++i) {
      const ChosenToken& taken = chosen[options_.doSample ? i : 0];
      Sample& sample = samples_[readers[i]];
      sample.usable = taken.token != kUnusableRow;
      sample.token = taken.token;
      sample.logProb = taken.logProb;
    }
  }

  void takeAlternatives(std::int64_t row, std::span<const ScoredToken> alternatives) override {
    for (const std::size_t index : samplesOfRow(row)) {
      samples_[index].newest.assign(alternatives.begin(), alternatives.end());
    }
  }

  void setLastStep() override { isLastStep_ = true; }

  void advance() override {
    for (const std::size_t index : live_) {
      if (!samples_[index].usable) throw nonFiniteLogits();
    }
    for (const std::size_t index : live_) append(index);
    continuations_.clear();
    std::size_t kept = 0;
    for (std::size_t place = 0; place < live_.size(); ++place) {
      const Sample& sample = samples_[live_[place]];
      if (sample.finished) continue;
      const std::size_t row = sharedRow_ ? 0 : place;
      continuations_.push_back({static_cast<std::int32_t>(row), sample.token});
      live_[kept++] = live_[place];
    }
    live_.resize(kept);
    sharedRow_ = false;
  }

  std::vector<GeneratedSequence> takeSequences() override {
    std::vector<GeneratedSequence> sequences;
    sequences.reserve(samples_.size());
    for (Sample& sample : samples_) {
      GeneratedSequence& sequence = sequences.emplace_back();
      sequence.tokenIds.assign(sample.history.begin() + 1, sample.history.end());
      sequence.logProbs = std::move(sample.logProbs);
      sequence.alternatives = std::move(sample.alternatives);
      sequence.finishReason = sample.reason;
    }
    return sequences;
  }

 private:
  struct Sample {
    std::vector<std::int32_t> history;  // the decoder's prompt and generated tokens
    std::vector<float> logProbs;
    std::vector<ScoredToken> alternatives;  // of all generated tokens
    std::vector<ScoredToken> newest;        // of the running step's
    StopState stopState;
    std::int32_t token = -1;  // chosen by the running step; -1: none is allowed
    float logProb = 0.0f;
    bool usable = true;
    bool finished = false;
    FinishReason reason = FinishReason::length;
  };

  /// All samples draw from the first step's one row; afterwards each has its own.
  std::span<const std::size_t> samplesOfRow(std::int64_t row) const {
    if (sharedRow_) return live_;
    return {live_.data() + row, 1};
  }

  std::int64_t generated(const Sample& sample) const {
    return static_cast<std::int64_t>(sample.history.size()) - promptTokens_;
  }

  void append(std::size_t index) {
    Sample& sample = samples_[index];
    if (sample.token < 0) return finish(sample, FinishReason::blocked);
    sample.history.push_back(sample.token);
    if (options_.logProbs) sample.logProbs.push_back(sample.logProb);
    sample.alternatives.insert(sample.alternatives.end(), sample.newest.begin(),
                               sample.newest.end());
    if (stops_.push(sample.stopState, sample.token) || options_.isEos(sample.token)) {
      finish(sample, FinishReason::stop);
    } else if (generated(sample) >= options_.maxNewTokens) {
      finish(sample, FinishReason::length);
    } else if (isLastStep_) {
      finish(sample, FinishReason::time);
    }
    if (onToken_) {
      onToken_({static_cast<std::int32_t>(index), sample.token, sample.logProb, sample.newest});
    }
  }

  static void finish(Sample& sample, FinishReason reason) {
    sample.finished = true;
    sample.reason = reason;
  }

  const GenerationOptions& options_;
  const StopStrings& stops_;
  TokenCallback onToken_;
  std::vector<Sample> samples_;
  std::vector<std::size_t> live_;  // samples that go on, in order
  std::vector<Continuation> continuations_;
  std::int64_t promptTokens_ = 1;
  bool sharedRow_ = true;
  bool isLastStep_ = false;
};

}  // namespace

std::unique_ptr<Strategy> makeSamplingStrategy(const GenerationRequest& request,
                                               TokenCallback onToken) {
  return std::make_unique<SamplingStrategy>(request, std::move(onToken));
}

}  // namespace wgqa
