#include "decode/generation_options.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "base/error.h"

namespace wgqa {
namespace {

// Beam search looks at as many candidates per beam, and one more.
constexpr std::int64_t kMaxEosTokens = 256;

// Alternatives told of each token.
constexpr std::int64_t kMaxTopLogProbs = 100;

// Logits are scaled in float32: what these make of them stays a finite number.
constexpr double kLeastFactor = 1e-30;
constexpr double kMostFactor = 1e30;

constexpr std::int64_t kMaxTokens = std::numeric_limits<std::int32_t>::max() - 1;

void checkInteger(const char* field, std::int64_t value, std::int64_t least, std::int64_t most) {
  if (value >= least && value <= most) return;
  const std::string allowed = most == kMaxTokens ? "an integer >= " + std::to_string(least)
                                                 : "an integer from " + std::to_string(least) +
                                                       " to " + std::to_string(most);
  throw invalidArgument(field, allowed, std::to_string(value));
}

void checkNumber(const char* field, double value, bool good, const char* allowed) {
  if (!good || !std::isfinite(value)) throw invalidArgument(field, allowed, std::to_string(value));
}

bool isFactor(double value) { return value >= kLeastFactor && value <= kMostFactor; }

void checkToken(const std::string& field, std::int32_t token, std::int64_t vocabSize) {
  if (token >= 0 && token < vocabSize) return;
  throw invalidArgument(field, "a token id in [0, " + std::to_string(vocabSize) + ")",
                        std::to_string(token));
}

void checkReturnSequences(const GenerationOptions& options) {
  checkInteger("numReturnSequences", options.numReturnSequences, 1, kMaxTokens);
  if (options.numBeams > 1 && options.numReturnSequences > options.numBeams) {
    throw invalidArgument("numReturnSequences",
                          "at most numBeams (" + std::to_string(options.numBeams) + ")",
                          std::to_string(options.numReturnSequences));
  }
  if (options.numBeams == 1 && !options.doSample && options.numReturnSequences > 1) {
    throw invalidArgument("numReturnSequences", "1 without doSample or numBeams > 1",
                          std::to_string(options.numReturnSequences));
  }
}

}  // namespace

void GenerationOptions::validate(std::int64_t vocabSize) const {
  checkInteger("maxNewTokens", maxNewTokens, 1, kMaxTokens);
  checkInteger("minNewTokens", minNewTokens, 0, maxNewTokens);
  checkInteger("numBeams", numBeams, 1, kMaxTokens);
  checkReturnSequences(*this);
  checkNumber("lengthPenalty", lengthPenalty, true, "a finite number");
  checkInteger("noRepeatNgramSize", noRepeatNgramSize, 0, kMaxTokens);
  checkNumber("repetitionPenalty", repetitionPenalty, isFactor(repetitionPenalty),
              "a number from 1e-30 to 1e30");
  checkNumber("temperature", temperature, isFactor(temperature),
              "a number from 1e-30 to 1e30 (greedy decoding is doSample: false)");
  checkInteger("topK", topK, 0, kMaxTokens);
  checkNumber("topP", topP, topP > 0.0 && topP <= 1.0, "a number in (0, 1]");
  checkNumber("minP", minP, minP >= 0.0 && minP <= 1.0, "a number in [0, 1]");
  checkInteger("eosTokenIds.length", static_cast<std::int64_t>(eosTokenIds.size()), 0,
               kMaxEosTokens);
  for (std::size_t i = 0; i < eosTokenIds.size(); ++i) {
    checkToken("eosTokenIds[" + std::to_string(i) + "]", eosTokenIds[i], vocabSize);
  }
  checkToken("decoderStartTokenId", decoderStartTokenId, vocabSize);
  checkToken("padTokenId", padTokenId, vocabSize);
  checkInteger("topLogProbs", topLogProbs, 0, kMaxTopLogProbs);
  checkNumber("maxTime", maxTimeMilliseconds, maxTimeMilliseconds >= 0.0, "a number >= 0");
  edits.validate(vocabSize);
}

bool GenerationOptions::isEos(std::int32_t token) const {
  return std::find(eosTokenIds.begin(), eosTokenIds.end(), token) != eosTokenIds.end();
}

void validateTokens(const std::string& field, std::span<const std::int32_t> tokens,
                    std::int64_t vocabSize) {
  checkInteger((field + ".length").c_str(), static_cast<std::int64_t>(tokens.size()), 0,
               kMaxTokens);
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] >= 0 && tokens[i] < vocabSize) continue;
    checkToken(field + "[" + std::to_string(i) + "]", tokens[i], vocabSize);
  }
}

}  // namespace wgqa
