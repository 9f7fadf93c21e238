// What a caller asks of the decode engine, and what it gets.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "decode/generation_options.h"
#include "decode/stop_strings.h"
#include "ops/row_choice.h"
#include "ops/tokens/row_math.h"

namespace wgqa {

/// Chosen by the caller, never used twice.
using RequestId = std::uint64_t;

struct GenerationRequest {
  std::vector<std::int32_t> inputIds;  // the source
  /// What the decoder is fed after the start token before it is free to choose. Part of the
  /// sequences that are returned; not counted by maxNewTokens and minNewTokens.
  std::vector<std::int32_t> forcedPrefix;
  GenerationOptions options;
  StopStrings stops;
  /// Milliseconds from submission until the request fails with ErrorCode::timeout; 0: never.
  double timeoutMilliseconds = 0.0;
  /// Report each token as it is chosen. Only for requests without beams: a beam's tokens are not
  /// final before its end.
  bool reportTokens = false;
  /// Before tokens are chosen, logits go to the caller, who may change them.
  bool processesLogits = false;

  /// Whether its logits are needed on the host, whatever the device.
  bool wantsLogits() const { return processesLogits || options.choosesOnHost(); }
  /// Candidates for the next tokens that beam search looks at: transformers takes (1 + end tokens),
  /// or 2 if that is more, times the beams. Where end tokens alone end a beam, a row needs no more
  /// than the beams and the end tokens for the same result.
  std::int64_t candidatesOfRow() const;
  /// How many of all rows are looked at.
  std::int64_t candidatesOfStep() const;
  /// What the decoder is fed before it chooses: the start token and the forced prefix.
  std::vector<std::int32_t> decoderPrompt() const;
  /// Throws ErrorCode::invalidArgument naming the first bad field: `inputIds`, `decoderInputIds`
  /// (the forced prefix), `timeout` or one of the options.
  void validate(std::int64_t vocabSize) const;
};

/// `stop`: an end token was generated or a stop string completed; `length`: maxNewTokens were
/// generated; `time`: maxTime had passed; `blocked`: no token was allowed any more.
enum class FinishReason : std::uint8_t { stop, length, time, blocked };

struct GeneratedSequence {
  /// Without the start token; the forced prefix, then what was generated, the end token included.
  std::vector<std::int32_t> tokenIds;
  std::optional<float> score;   // beam search: sum of log-probs / length^lengthPenalty
  std::vector<float> logProbs;  // of the generated tokens if asked for: of the model's distribution
                                // before any processing
  /// [generated tokens, topLogProbs] if asked for: the most probable tokens at each place with
  /// their log-probabilities, best first; kNoToken where fewer have one.
  std::vector<ScoredToken> alternatives;
  FinishReason finishReason = FinishReason::length;
};

/// Either `error` or up to numReturnSequences sequences, beams best first. (Fewer only if a tiny
/// vocabulary or a ban on repetition leaves beam search fewer continuations.)
struct GenerationResult {
  std::vector<GeneratedSequence> sequences;
  std::optional<Error> error;
  double queueMilliseconds = 0.0;       // from submission until work on it first began
  double firstTokenMilliseconds = 0.0;  // from submission until its first step was scored
  double totalMilliseconds = 0.0;       // from submission to the end
  std::int64_t cachedPromptTokens = 0;  // source tokens that need not be encoded again
  std::int64_t preemptions = 0;
};

}  // namespace wgqa
