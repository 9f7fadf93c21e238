#include "decode/step_choices.h"

#include <algorithm>

namespace wgqa {

void StepChoices::add(Strategy& strategy, std::int64_t row, std::int64_t logitsRow) {
  RowChoice choice = strategy.choiceOf(row, lists_);
  choice.row = static_cast<std::int32_t>(logitsRow);
  choice.firstResult = static_cast<std::int64_t>(chosen_.size());
  // Beam search asks for as many candidates as it could use; there are no more than tokens.
  if (choice.take != Take::draws) {
    choice.count = static_cast<std::int32_t>(std::min<std::int64_t>(choice.count, vocab_));
  }
  chosen_.resize(chosen_.size() + static_cast<std::size_t>(choice.count));
  choices_.push_back(choice);
  choosers_.push_back({&strategy, row});
}

StepChoices::Mark StepChoices::mark() const {
  return {choices_.size(), chosen_.size(), lists_.tokens.size(), lists_.uniforms.size()};
}

void StepChoices::rollBack(const Mark& mark) {
  choosers_.resize(mark.rows);
  choices_.resize(mark.rows);
  chosen_.resize(mark.results);
  lists_.tokens.resize(mark.tokens);
  lists_.uniforms.resize(mark.uniforms);
}

void StepChoices::deliver() {
  const std::span<const ChosenToken> all = chosen_;
  for (std::size_t i = 0; i < choosers_.size(); ++i) {
    const RowChoice& choice = choices_[i];
    choosers_[i].strategy->take(choosers_[i].row,
                                all.subspan(static_cast<std::size_t>(choice.firstResult),
                                            static_cast<std::size_t>(choice.count)));
  }
}

}  // namespace wgqa
