#include "decode/answered_logits.h"

namespace wgqa {

void AnsweredLogits::clear() {
  choices_.clear();
  logits_.clear();
}

void AnsweredLogits::add(ActiveRequest& request) {
  const auto vocab = static_cast<std::size_t>(vocab_);
  for (std::int64_t row = 0; row < request.rows(); ++row) {
    const auto begin = static_cast<std::size_t>(row) * vocab;
    const auto logits = std::span(request.answer).subspan(begin, vocab);
    const auto unprocessed = request.unprocessed.empty()
                                 ? std::span<const float>(logits)
                                 : std::span(request.unprocessed).subspan(begin, vocab);
    choices_.add(request.strategy(), row, std::ssize(logits_));
    logits_.push_back({logits, unprocessed});
  }
}

std::int64_t AnsweredLogits::choose() {
  const TokenChoices choices = choices_.view();
  rows_.clear();
  for (std::size_t i = 0; i < logits_.size(); ++i) {
    rows_.push_back({&choices.rows[i], logits_[i].logits, logits_[i].unprocessed});
  }
  chooseRows(rows_, choices, choices_.chosen(), scratch_);
  choices_.deliver();
  return std::ssize(rows_);
}

}  // namespace wgqa
