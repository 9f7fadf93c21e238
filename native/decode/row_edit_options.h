// Options of a request that few have. Names, meanings and defaults are Hugging Face's `generate`
// options; what each does is in decode/request_edits.h.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace wgqa {

/// Sequences of tokens, one after another: sequence i owns [offsets[i], offsets[i + 1]).
struct TokenSequences {
  std::vector<std::int32_t> ids;
  std::vector<std::int32_t> offsets = {0};

  std::size_t size() const { return offsets.size() - 1; }
  std::span<const std::int32_t> operator[](std::size_t i) const {
    const auto begin = static_cast<std::size_t>(offsets[i]);
    return std::span(ids).subspan(begin, static_cast<std::size_t>(offsets[i + 1]) - begin);
  }
};

/// The end token becomes more likely with each token after `start`.
struct ExponentialDecay {
  std::int64_t start = 0;  // generated tokens
  double factor = 1.0;
};

struct RowEditOptions {
  TokenSequences biased;                      // sequence_bias
  std::vector<float> biases;                  // of the biased sequences
  double encoderRepetitionPenalty = 1.0;      // 1: off
  std::int64_t encoderNoRepeatNgramSize = 0;  // 0: off
  TokenSequences badWords;                    // bad_words_ids
  std::optional<std::int32_t> forcedBosTokenId;
  std::vector<std::int32_t> forcedEosTokenIds;  // empty: off
  bool removeInvalidValues = false;
  std::optional<ExponentialDecay> exponentialDecay;
  std::vector<std::int32_t> suppressTokens;
  std::vector<std::int32_t> beginSuppressTokens;
  double typicalP = 1.0;       // 1: off; of sampling, as the next two
  double epsilonCutoff = 0.0;  // 0: off
  double etaCutoff = 0.0;      // 0: off
  bool renormalizeLogits = false;

  /// Whether one of them has an effect. `samples`: those of sampling count.
  bool any(bool samples) const;
  /// Throws ErrorCode::invalidArgument naming the first bad field and its allowed values.
  void validate(std::int64_t vocabSize) const;
};

}  // namespace wgqa
