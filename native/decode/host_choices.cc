#include "decode/host_choices.h"

#include <algorithm>

namespace wgqa {

void HostChoices::clear() {
  choices_.clear();
  added_.clear();
  alternatives_.clear();
}

void HostChoices::addAnswered(ActiveRequest& request) {
  const std::span<const float> answer = request.answer;
  add(request, request.answer,
      request.unprocessed.empty() ? answer : std::span<const float>(request.unprocessed));
}

void HostChoices::add(ActiveRequest& request, std::span<float> logits) {
  add(request, logits, logits);
}

void HostChoices::add(ActiveRequest& request, std::span<float> logits,
                      std::span<const float> unprocessed) {
  const auto vocab = static_cast<std::size_t>(vocab_);
  const GenerationRequest& asked = request.request();
  Strategy& strategy = request.strategy();
  for (std::int64_t row = 0; row < request.rows(); ++row) {
    const auto begin = static_cast<std::size_t>(row) * vocab;
    choices_.add(strategy, row, std::ssize(added_));
    added_.push_back({&request, row, logits.subspan(begin, vocab),
                      unprocessed.subspan(begin, vocab), alternatives_.size(),
                      RequestEdits(asked.options, asked.inputIds, strategy.history(row),
                                   strategy.promptTokens())});
    alternatives_.resize(alternatives_.size() +
                         static_cast<std::size_t>(asked.options.topLogProbs));
  }
}

std::span<ScoredToken> HostChoices::alternativesOf(const Row& row) {
  const auto count = static_cast<std::size_t>(row.request->request().options.topLogProbs);
  return std::span(alternatives_).subspan(row.firstAlternative, count);
}

std::int64_t HostChoices::choose() {
  const TokenChoices choices = choices_.view();
  rows_.clear();
  for (std::size_t i = 0; i < added_.size(); ++i) {
    const Row& row = added_[i];
    rows_.push_back(
        {&choices.rows[i], row.logits, row.unprocessed, &row.edits, alternativesOf(row)});
  }
  chooseRows(rows_, choices, choices_.chosen(), scratch_);
  choices_.deliver();
  for (const Row& row : added_) {
    const auto alternatives = alternativesOf(row);
    if (!alternatives.empty()) row.request->strategy().takeAlternatives(row.row, alternatives);
  }
  return std::ssize(rows_);
}

}  // namespace wgqa
