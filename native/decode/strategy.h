// How the next tokens of one request are chosen: the one interface between the batch and greedy
// decoding, sampling and beam search.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "decode/generation_request.h"
#include "decode/processors.h"
#include "ops/row_choice.h"

namespace wgqa {

/// The token that a sequence of the next step feeds, and which sequence of the last step it
/// extends.
struct Continuation {
  std::int32_t parent;
  std::int32_t token;
};

/// A token that was chosen for good.
struct GeneratedToken {
  std::int32_t sequence = 0;  // which of the request's sequences
  std::int32_t token = 0;
  float logProb = 0.0f;  // if asked for, of the model's distribution before any processing
  std::vector<ScoredToken> alternatives;  // [topLogProbs]
};

using TokenCallback = std::function<void(const GeneratedToken&)>;

/// One request's sequences are the rows 0 .. continuations().size() - 1 of a step. A step is:
/// choiceOf and, once its tokens are there, take for every row, then advance.
/// A request starts with one row that feeds the start token and the forced prefix; none left means
/// that it is finished.
class Strategy {
 public:
  virtual ~Strategy() = default;
  virtual std::span<const Continuation> continuations() const = 0;
  /// All tokens of a row of the next step: the start token, the forced prefix and what was
  /// generated. The last one is the continuation's.
  virtual std::span<const std::int32_t> history(std::int64_t row) const = 0;
  /// Tokens that a history begins with and that were not generated.
  virtual std::int64_t promptTokens() const = 0;
  /// What is to be taken of the row's logits. Adds to `lists` what it refers to.
  virtual RowChoice choiceOf(std::int64_t row, ChoiceLists& lists) const = 0;
  /// Takes in what was taken: as many as choiceOf() told.
  virtual void take(std::int64_t row, std::span<const ChosenToken> chosen) = 0;
  /// Takes in the most probable tokens of the row, before any processing: with options.topLogProbs.
  virtual void takeAlternatives(std::int64_t row, std::span<const ScoredToken> alternatives) = 0;
  /// The next advance() ends every sequence that it does not end otherwise, with
  /// FinishReason::time.
  virtual void setLastStep() = 0;
  /// Chooses the continuations. Throws ErrorCode::nonFinite if a row held NaN or +infinity.
  virtual void advance() = 0;
  /// The finished sequences; call once, when none is left to continue.
  virtual std::vector<GeneratedSequence> takeSequences() = 0;
};

/// Greedy decoding, or independent samples. `request` must outlive the strategy; `onToken` may be
/// empty.
std::unique_ptr<Strategy> makeSamplingStrategy(const GenerationRequest& request,
                                               TokenCallback onToken);

/// Beam search, or with doSample beam sampling.
std::unique_ptr<Strategy> makeBeamStrategy(const GenerationRequest& request);

/// `onToken` is called for each chosen token of a request without beams.
std::unique_ptr<Strategy> makeStrategy(const GenerationRequest& request, TokenCallback onToken);

/// The error of a row that is not usable.
Error nonFiniteLogits();

}  // namespace wgqa
