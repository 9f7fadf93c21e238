// Choosing from logits that a request's caller has processed: they lie on the host.
#pragma once

#include <cstdint>
#include <vector>

#include "decode/active_request.h"
#include "decode/step_choices.h"
#include "ops/tokens/choose_rows.h"

namespace wgqa {

/// Its memory is reused from step to step.
class AnsweredLogits {
 public:
  explicit AnsweredLogits(std::int64_t vocab) : vocab_(vocab), choices_(vocab) {}

  void clear();
  /// Adds the rows of a request whose answer is there.
  void add(ActiveRequest& request);
  /// The requests' strategies take their tokens. Returns of how many rows.
  std::int64_t choose();

 private:
  struct Row {
    std::span<float> logits;
    std::span<const float> unprocessed;
  };

  std::int64_t vocab_;
  StepChoices choices_;
  std::vector<Row> logits_;
  std::vector<HostRow> rows_;
  std::vector<RowScratch> scratch_;  // one per thread
};

}  // namespace wgqa
