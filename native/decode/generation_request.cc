#include "decode/generation_request.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace wgqa {
namespace {

// A step sorts as many candidates of each beam.
constexpr std::int64_t kMaxCandidates = 2048;

}  // namespace

std::int64_t GenerationRequest::candidatesOfRow() const {
  const auto ends = static_cast<std::int64_t>(options.eosTokenIds.size());
  const std::int64_t beams = options.numBeams;
  if (options.doSample || !stops.empty()) return std::max<std::int64_t>(2, 1 + ends) * beams;
  return std::max(2 * beams, beams + ends);
}

std::int64_t GenerationRequest::candidatesOfStep() const {
  if (options.doSample || !stops.empty()) return candidatesOfRow();
  return std::numeric_limits<std::int64_t>::max();
}

std::vector<std::int32_t> GenerationRequest::decoderPrompt() const {
  std::vector<std::int32_t> prompt = {options.decoderStartTokenId};
  prompt.insert(prompt.end(), forcedPrefix.begin(), forcedPrefix.end());
  return prompt;
}

void GenerationRequest::validate(std::int64_t vocabSize) const {
  if (inputIds.empty()) throw invalidArgument("inputIds", "at least one token id", "empty");
  validateTokens("inputIds", inputIds, vocabSize);
  validateTokens("decoderInputIds", forcedPrefix, vocabSize);
  options.validate(vocabSize);
  if (options.numBeams > 1 && candidatesOfRow() > kMaxCandidates) {
    throw invalidArgument("numBeams",
                          "at most " + std::to_string(kMaxCandidates) +
                              " divided by 1 + the number of end tokens, with doSample or stop",
                          std::to_string(options.numBeams));
  }
  if (!std::isfinite(timeoutMilliseconds) || timeoutMilliseconds < 0.0) {
    throw invalidArgument("timeout", "a number of milliseconds >= 0",
                          std::to_string(timeoutMilliseconds));
  }
}

}  // namespace wgqa
