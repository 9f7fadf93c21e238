// A request's options as what changes the scores of one row: the part of RowChoice that all
// strategies have in common.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "decode/generation_options.h"
#include "ops/row_choice.h"

namespace wgqa {

/// Lists that the choices of a step share.
struct ChoiceLists {
  std::vector<std::int32_t> tokens;
  std::vector<double> uniforms;
};

/// Appends the tokens that follow the last `ngramSize` - 1 tokens of `history` somewhere in `text`.
/// Its work is the length of both together.
void addContinuations(std::span<const std::int32_t> history, std::span<const std::int32_t> text,
                      std::int64_t ngramSize, std::vector<std::int32_t>& tokens);

/// A choice that takes nothing yet. `history` is the prompt of the decoder (the start token and a
/// forced prefix), `promptTokens` long, and the tokens generated so far.
RowChoice processorsOf(const GenerationOptions& options, std::span<const std::int32_t> history,
                       std::int64_t promptTokens, ChoiceLists& lists);

}  // namespace wgqa
