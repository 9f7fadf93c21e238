// Choosing tokens from rows of logits on the host.
#pragma once

#include <span>
#include <vector>

#include "ops/ops.h"
#include "ops/tokens/logits_processors.h"
#include "ops/tokens/row_edits.h"

namespace wgqa {

/// One row and what is to be chosen from it.
struct HostRow {
  const RowChoice* choice;
  std::span<float> logits;  // [vocab], overwritten
  /// What the model gave, of which log-probabilities are told; the same memory unless the caller
  /// has changed the logits.
  std::span<const float> unprocessed;
  /// Further processing, or null.
  const RowEdits* edits = nullptr;
  /// Gets the most probable tokens of the distribution before any processing, best first, with
  /// their log-probabilities; kNoToken where fewer have one.
  std::span<ScoredToken> alternatives = {};
};

/// Writes `choice.count` results to `chosen`.
void chooseRow(const HostRow& row, const TokenChoices& choices, RowScratch& scratch,
               std::span<ChosenToken> chosen);

/// Rows in parallel, results where their choices say. `choices.rows` are not looked at. `scratch`
/// gets one for each thread.
void chooseRows(std::span<const HostRow> rows, const TokenChoices& choices,
                std::span<ChosenToken> chosen, std::vector<RowScratch>& scratch);

}  // namespace wgqa
