// How one request is decoded: Hugging Face's generation options with every field resolved.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "decode/row_edit_options.h"

namespace wgqa {

/// When beam search stops once numBeams hypotheses are finished: `no` when no running beam can beat
/// the worst of them at its present length, `yes` at once, `never` when none can at any length.
enum class EarlyStopping : std::uint8_t { no, yes, never };

/// Names, meanings and defaults are Hugging Face's `generate` options.
struct GenerationOptions {
  std::int64_t maxNewTokens = 20;
  std::int64_t minNewTokens = 0;
  std::int64_t numBeams = 1;
  std::int64_t numReturnSequences = 1;
  double lengthPenalty =
      1.0;  // a hypothesis scores sum of log-probabilities / length^lengthPenalty
  EarlyStopping earlyStopping = EarlyStopping::no;
  std::int64_t noRepeatNgramSize = 0;  // 0: off
  double repetitionPenalty = 1.0;      // 1: off
  bool doSample = false;
  double temperature = 1.0;
  std::int64_t topK = 50;  // 0: off
  double topP = 1.0;       // 1: off
  double minP = 0.0;       // 0: off
  std::uint64_t seed = 0;
  std::vector<std::int32_t> eosTokenIds;
  std::int32_t decoderStartTokenId = 0;
  std::int32_t padTokenId = 0;
  bool logProbs = false;           // keep each token's log-probability
  std::int64_t topLogProbs = 0;    // keep as many of the most probable tokens, too
  double maxTimeMilliseconds = 0;  // from submission until no step is added; 0: none
  RowEditOptions edits;

  /// Throws ErrorCode::invalidArgument naming the first bad field and its allowed values.
  void validate(std::int64_t vocabSize) const;
  bool isEos(std::int32_t token) const;
  /// Sequences that decode at once: beams, or samples.
  std::int64_t sequences() const { return numBeams > 1 ? numBeams : numReturnSequences; }
  /// Whether tokens are chosen on the host, whatever the device: RowChoice does not tell all.
  bool choosesOnHost() const { return topLogProbs > 0 || edits.any(doSample); }
};

/// Throws ErrorCode::invalidArgument with `field` and the place for a token id outside
/// [0, vocabSize), and for more tokens than fit an int32.
void validateTokens(const std::string& field, std::span<const std::int32_t> tokens,
                    std::int64_t vocabSize);

}  // namespace wgqa
