#include "decode/row_edit_options.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "base/error.h"
#include "decode/generation_options.h"

namespace wgqa {
namespace {

// Each step looks at all of them for each row: so many take less than a row of the vocabulary.
constexpr std::size_t kMaxSequenceTokens = 16384;
// float32 holds what these make of scores.
constexpr double kLeastFactor = 1e-30;
constexpr double kMostFactor = 1e30;

void checkNumber(const char* field, double value, double least, double most) {
  if (value >= least && value <= most) return;
  throw invalidArgument(field,
                        "a number from " + std::to_string(least) + " to " + std::to_string(most),
                        std::to_string(value));
}

void checkSequences(const std::string& field, const TokenSequences& sequences,
                    std::int64_t vocabSize) {
  const auto& offsets = sequences.offsets;
  bool sound = !offsets.empty() && offsets.front() == 0 &&
               static_cast<std::size_t>(offsets.back()) == sequences.ids.size();
  for (std::size_t i = 1; sound && i < offsets.size(); ++i) sound = offsets[i] > offsets[i - 1];
  if (!sound) throw invalidArgument(field, "sequences of one token id or more", "others");
  if (sequences.ids.size() > kMaxSequenceTokens) {
    throw invalidArgument(field,
                          "at most " + std::to_string(kMaxSequenceTokens) + " token ids in all",
                          std::to_string(sequences.ids.size()));
  }
  validateTokens(field, sequences.ids, vocabSize);
}

}  // namespace

bool RowEditOptions::any(bool samples) const {
  const bool filters = samples && (typicalP < 1.0 || epsilonCutoff > 0.0 || etaCutoff > 0.0);
  return filters || biased.size() > 0 || encoderRepetitionPenalty != 1.0 ||
         encoderNoRepeatNgramSize > 0 || badWords.size() > 0 || forcedBosTokenId ||
         !forcedEosTokenIds.empty() || removeInvalidValues || exponentialDecay ||
         !suppressTokens.empty() || !beginSuppressTokens.empty() || renormalizeLogits;
}

void RowEditOptions::validate(std::int64_t vocabSize) const {
  checkSequences("sequenceBias", biased, vocabSize);
  if (biases.size() != biased.size() ||
      std::any_of(biases.begin(), biases.end(), [](float bias) { return std::isnan(bias); })) {
    throw invalidArgument("sequenceBias", "a number for each sequence", "another");
  }
  checkSequences("badWordsIds", badWords, vocabSize);
  checkNumber("encoderRepetitionPenalty", encoderRepetitionPenalty, kLeastFactor, kMostFactor);
  checkNumber("encoderNoRepeatNgramSize", static_cast<double>(encoderNoRepeatNgramSize), 0, 1e9);
  if (forcedBosTokenId) validateTokens("forcedBosTokenId", {&*forcedBosTokenId, 1}, vocabSize);
  validateTokens("forcedEosTokenId", forcedEosTokenIds, vocabSize);
  validateTokens("suppressTokens", suppressTokens, vocabSize);
  validateTokens("beginSuppressTokens", beginSuppressTokens, vocabSize);
  if (exponentialDecay) {
    checkNumber("exponentialDecayLengthPenalty[0]", static_cast<double>(exponentialDecay->start), 0,
                1e9);
    checkNumber("exponentialDecayLengthPenalty[1]", exponentialDecay->factor, kLeastFactor,
                kMostFactor);
  }
  checkNumber("typicalP", typicalP, 0.0, 1.0);
  checkNumber("epsilonCutoff", epsilonCutoff, 0.0, 1.0);
  checkNumber("etaCutoff", etaCutoff, 0.0, 1.0);
}

}  // namespace wgqa
