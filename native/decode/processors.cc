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

/// For each place of `pattern` the length of the longest proper beginning that ends there (Knuth,
/// Morris and Pratt).
std::vector<std::size_t> bordersOf(std::span<const std::int32_t> pattern) {
  std::vector<std::size_t> borders(pattern.size(), 0);
  for (std::size_t i = 1, matched = 0; i < pattern.size(); ++i) {
    while (matched > 0 && pattern[i] != pattern[matched]) matched = borders[matched - 1];
    if (pattern[i] == pattern[matched]) ++matched;
    borders[i] = matched;
  }
  return borders;
}

}  // namespace

void addContinuations(std::span<const std::int32_t> history, std::span<const std::int32_t> text,
                      std::int64_t ngramSize, std::vector<std::int32_t>& tokens) {
  const std::int64_t prefix = ngramSize - 1;
  if (prefix < 0 || std::ssize(history) < prefix) return;
  const auto pattern = history.last(static_cast<std::size_t>(prefix));
  const std::vector<std::size_t> borders = bordersOf(pattern);
  std::size_t matched = 0;
  for (const std::int32_t token : text) {
    if (matched == pattern.size()) {
      tokens.push_back(token);
      matched = pattern.empty() ? 0 : borders[matched - 1];
    }
    while (matched > 0 && token != pattern[matched]) matched = borders[matched - 1];
    if (!pattern.empty() && token == pattern[matched]) ++matched;
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
  if (options.noRepeatNgramSize > 0) {
    addContinuations(history, history, options.noRepeatNgramSize, tokens);
  }
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
