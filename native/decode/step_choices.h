// What the sequences of one step choose from their logits, gathered over all requests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "decode/strategy.h"
#include "ops/ops.h"

namespace wgqa {

/// Its memory is reused from step to step.
class StepChoices {
 public:
  explicit StepChoices(std::int64_t vocab) : vocab_(vocab) {}

  void clear() { rollBack({}); }
  /// Adds what `strategy` chooses for its row, from the logits of row `logitsRow` of all.
  void add(Strategy& strategy, std::int64_t row, std::int64_t logitsRow);

  /// Undoes what was added since mark().
  struct Mark {
    std::size_t rows, results, tokens, uniforms;
  };
  Mark mark() const;
  void rollBack(const Mark& mark);

  TokenChoices view() const { return {choices_, lists_.tokens, lists_.uniforms}; }
  /// Where what is taken goes.
  std::span<ChosenToken> chosen() { return chosen_; }
  /// Hands every strategy what was taken for it.
  void deliver();

 private:
  struct Chooser {
    Strategy* strategy;
    std::int64_t row;
  };

  std::int64_t vocab_;
  std::vector<Chooser> choosers_;
  std::vector<RowChoice> choices_;  // of the choosers
  ChoiceLists lists_;
  std::vector<ChosenToken> chosen_;
};

}  // namespace wgqa
