// Processing of a row of scores that RowChoice does not tell: for rows that are chosen from on the
// host alone.
#pragma once

#include <span>

#include "ops/tokens/logits_processors.h"

namespace wgqa {

/// Called in the order of the methods, between the steps that RowChoice tells. -infinity forbids a
/// token.
class RowEdits {
 public:
  virtual ~RowEdits() = default;
  /// Whether NaN and infinities of the model are replaced instead of ending the request.
  virtual bool mendsInvalid() const = 0;
  /// Before the repetition penalty.
  virtual void beforePenalty(std::span<float> scores, RowScratch& scratch) const = 0;
  /// After forbidden tokens, before the temperature.
  virtual void beforeFilters(std::span<float> scores) const = 0;
  /// After min-p, the last filter; `minTokens` stay at least.
  virtual void afterFilters(std::span<float> scores, std::int64_t minTokens,
                            RowScratch& scratch) const = 0;
};

}  // namespace wgqa
