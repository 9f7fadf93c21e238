#include "decode/processors.h"

#include <algorithm>

namespace wgqa {
namespace {

std::int32_t sizeOf(const std::vector<std::int32_t>& list) {
  return static_cast<std::int32_t>(list.size());
}

/// Samples of a beam must be able to end and to go on, so beam search keeps more than one token.
std::int32_t minTokensToKeep(const GenerationOptions& options) {
  return options.numBeams > 1 ? sizeOf(options.eosTokenIds) + 1 : 1;
}

}  // namespace

void addRepeatedNgrams(std::span<const std::int32_t> history, std::int64_t ngramSize,
                       std::vector<std::int32_t>& tokens) {
  const auto length = static_cast<std::int64_t>(history.size());
  if (length + 1 < ngramSize) return;
  const std::int64_t prefix = ngramSize - 1;
  const auto newest = history.last(static_cast<std::size_t>(prefix));
  for (std::int64_t end = prefix; end < length; ++end) {
    if (std::equal(newest.begin(), newest.end(), history.begin() + (end - prefix))) {
      tokens.push_back(history[static_cast<std::size_t>(end)]);
    }
  }
}

RowChoice processorsOf(const GenerationOptions& options, std::span<const std::int32_t> history,
                       std::int64_t promptTokens, ChoiceLists& lists) {
  const std::int64_t generated = static_cast<std::int64_t>(history.size()) - promptTokens;
  std::vector<std::int32_t>& tokens = lists.tokens;
  RowChoice choice;
  choice.logProbs = options.logProbs;
  choice.repetitionPenalty = static_cast<float>(options.repetitionPenalty);
  choice.penalised.begin = sizeOf(tokens);
  if (options.repetitionPenalty != 1.0) {
    tokens.insert(tokens.end(), history.begin(), history.end());
  }
  choice.penalised.end = sizeOf(tokens);
  choice.forbidden.begin = sizeOf(tokens);
  if (options.noRepeatNgramSize > 0) addRepeatedNgrams(history, options.noRepeatNgramSize, tokens);
  if (generated < options.minNewTokens) {
    tokens.insert(tokens.end(), options.eosTokenIds.begin(), options.eosTokenIds.end());
  }
  choice.forbidden.end = sizeOf(tokens);
  if (!options.doSample) return choice;
  choice.temperature = static_cast<float>(options.temperature);
  choice.topK = static_cast<std::int32_t>(options.topK);
  choice.minTokens = minTokensToKeep(options);
  choice.topP = options.topP;
  choice.minP = options.minP;
  return choice;
}

}  // namespace wgqa
