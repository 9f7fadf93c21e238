// A model for tests of the decode engine: its logits are a hash of the source and of the tokens so
// far, both read back from the cache, so that a wrong block, slot or copy changes the output.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "decode/scheduler.h"
#include "model/decode_step.h"

namespace wgqa::test {

class FakeModel final : public EncoderDecoder {
 public:
  struct Options {
    std::int64_t vocab = 24;  // at most 64: ids are exact in a bfloat16 cache, in every layer
    std::vector<std::int64_t> selfKvHeads = {2, 2};  // [layers], of at most three
    std::vector<std::int64_t> crossKvHeads = {1, 1};
    std::uint64_t seed = 1;
    float spread = 3.0f;  // logits lie in [-spread, spread]
    std::int32_t endToken = 1;
    float endBias = 0.0f;  // added to the end token's logit
  };

  explicit FakeModel(const Options& options) : options_(options) {}

  CacheShape cacheShape() const override;
  std::int64_t vocabSize() const override { return options_.vocab; }
  std::unique_ptr<SourceEncoding> startEncoding(SourceBatch batch) override;
  void decodeStep(const DecodeStep& step) override;
  std::int64_t weightBytesRead() const override { return kBytesPerStep * steps; }
  std::uint64_t weightsVersion() const override { return version; }

  /// What decodeStep computes, without a cache. `history` includes the start token.
  std::vector<float> logitsOf(std::span<const std::int32_t> source,
                              std::span<const std::int32_t> history) const;

  static constexpr std::int64_t kBytesPerStep = 1000;

  std::uint64_t version = 0;

  // What the engine did.
  std::int64_t steps = 0;
  std::int64_t largestBatch = 0;    // rows with logits of one step
  std::int64_t mostFedRows = 0;     // other rows of one step
  std::int64_t fedRows = 0;         // other rows of all steps
  std::int64_t mostSelfBlocks = 0;  // different blocks in one step
  std::int64_t mostCrossBlocks = 0;
  std::vector<std::int64_t> encodings;  // tokens of each batch of sources
  std::vector<std::int64_t> slices;     // tokens of each slice of an encoding

  /// Called at the start of each decoding step and of each slice; may throw.
  std::function<void()> beforeStep;
  std::function<void()> beforeSlice;
  std::function<void(std::span<const std::int32_t> source, std::span<float> logits)> editLogits;

 private:
  class Encoding;
  Options options_;
  std::vector<float> logits_;  // of the running step
  HostTokenChooser chooser_;
};

/// A request with Hugging Face's defaults, but greedy, end token 1 and start token 0.
GenerationRequest makeRequest(std::vector<std::int32_t> inputIds, std::int64_t maxNewTokens);

/// A greedy request that generates exactly `length` tokens.
GenerationRequest endless(std::vector<std::int32_t> source, std::int64_t length);

/// Elements of K and V that a token takes in both attentions.
std::int64_t kvElementsPerToken(const EncoderDecoder::CacheShape& shape);

/// Float32 cache with room for about `blocks` blocks of 4 tokens of each attention.
EngineOptions makeEngineOptions(const FakeModel& model, std::int64_t blocks);

/// Plays the caller of a scheduler: keeps what it tells, and answers its LogitsEvents.
class Listener {
 public:
  std::map<RequestId, GenerationResult> results;
  std::map<RequestId, std::vector<GeneratedToken>> tokens;
  /// Edits a row of logits, given the tokens before it.
  using Processor =
      std::function<void(std::span<const std::int32_t> history, std::span<float> logits)>;
  Processor processor;

  /// One step, its events taken in. Logits are answered at once.
  void step(Scheduler& scheduler);
  /// Steps until nothing is left to do.
  void drain(Scheduler& scheduler);
};

/// Runs one request alone on a scheduler of its own; throws its error.
std::vector<GeneratedSequence> decodeAlone(EncoderDecoder& model, const EngineOptions& options,
                                           const GenerationRequest& request,
                                           const Listener::Processor& processor);
/// As above, with plenty of room.
std::vector<GeneratedSequence> decodeAlone(FakeModel& model, const GenerationRequest& request,
                                           const Listener::Processor& processor = {});

/// Greedy decoding, sampling and beam search with random options, forced prefixes and stop strings;
/// sources of 1 to 12 tokens, which often are those of other requests.
GenerationRequest randomRequest(std::mt19937& random);

/// What requests with `processesLogits` do in tests.
void banSomeTokens(std::span<const std::int32_t> history, std::span<float> logits);

/// The name of the result's error code, or "no error".
std::string codeOf(const GenerationResult& result);

/// Fails the running test if a request has not ended, or a block is not free or cached.
void checkNothingHeld(const Scheduler& scheduler);

/// Fails the running test unless both have the same tokens, reasons, scores and log-probabilities.
void checkSameSequences(std::span<const GeneratedSequence> actual,
                        std::span<const GeneratedSequence> expected, double scoreTolerance = 0.0);

}  // namespace wgqa::test
