// Choosing from logits on the host: those that a request's caller has processed, and those of
// requests whose options RowChoice does not tell.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "decode/active_request.h"
#include "decode/request_edits.h"
#include "decode/step_choices.h"
#include "ops/tokens/choose_rows.h"

namespace wgqa {

/// Its memory is reused from step to step.
class HostChoices {
 public:
  explicit HostChoices(std::int64_t vocab) : vocab_(vocab), choices_(vocab) {}

  void clear();
  /// Adds the rows of a request whose answer is there.
  void addAnswered(ActiveRequest& request);
  /// Adds the rows of a request with their logits [rows, vocab], which are overwritten.
  void add(ActiveRequest& request, std::span<float> logits);
  /// The requests' strategies take their tokens. Returns of how many rows.
  std::int64_t choose();

 private:
  struct Row {
    ActiveRequest* request;
    std::int64_t row;
    std::span<float> logits;
    std::span<const float> unprocessed;
    std::size_t firstAlternative;  // of `alternatives_`
    RequestEdits edits;
  };
  void add(ActiveRequest& request, std::span<float> logits, std::span<const float> unprocessed);
  std::span<ScoredToken> alternativesOf(const Row& row);

  std::int64_t vocab_;
  StepChoices choices_;
  std::vector<Row> added_;
  std::vector<HostRow> rows_;
  std::vector<ScoredToken> alternatives_;
  std::vector<RowScratch> scratch_;  // one per thread
};

}  // namespace wgqa
