#include "decode/generation_request.h"

#include <cmath>

namespace wgqa {

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
  if (!std::isfinite(timeoutMilliseconds) || timeoutMilliseconds < 0.0) {
    throw invalidArgument("timeout", "a number of milliseconds >= 0",
                          std::to_string(timeoutMilliseconds));
  }
}

}  // namespace wgqa
