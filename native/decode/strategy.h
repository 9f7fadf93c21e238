// How the next tokens of one request are chosen: the one interface between the batch and greedy
// decoding, sampling and beam search.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "decode/decoder.h"
#include "decode/logits_processors.h"

namespace wgqa {

/// The token that a sequence of the next step feeds, and which sequence of the last step it
/// extends.
struct Continuation {
  std::int32_t parent;
  std::int32_t token;
};

/// One request's sequences are the rows 0 .. continuations().size() - 1 of a step. A step is:
/// scoreRow for every row, in any order and on any threads, then advance.
/// A request starts with one row that feeds the start token; none left means that it is finished.
class Strategy {
 public:
  virtual ~Strategy() = default;
  virtual std::span<const Continuation> continuations() const = 0;
  /// Takes in a row of logits [vocab], which it may overwrite.
  virtual void scoreRow(std::int64_t row, std::span<float> logits, RowScratch& scratch) = 0;
  /// Chooses the continuations. Throws ErrorCode::nonFinite if a row held NaN or +infinity.
  virtual void advance() = 0;
  /// The finished sequences; call once, when none is left to continue.
  virtual std::vector<GeneratedSequence> takeSequences() = 0;
};

using TokenCallback = std::function<void(std::int32_t)>;

/// Greedy decoding, or independent samples. `options` must outlive the strategy; `onToken` is
/// called only when there is one sequence.
std::unique_ptr<Strategy> makeSamplingStrategy(const GenerationOptions& options,
                                               const TokenCallback& onToken);

/// Beam search, or with doSample beam sampling.
std::unique_ptr<Strategy> makeBeamStrategy(const GenerationOptions& options);

std::unique_ptr<Strategy> makeStrategy(const GenerationRequest& request);

/// The error of a row that isUsable declined.
Error nonFiniteLogits();

}  // namespace wgqa
