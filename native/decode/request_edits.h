// What RowEditOptions do to a row of scores, as Hugging Face's transformers defines it
// (generation/logits_process.py; the order is that of _get_logits_processor).
#pragma once

#include <cstdint>
#include <span>

#include "decode/generation_options.h"
#include "ops/tokens/row_edits.h"

namespace wgqa {

/// The edits of one row. `history` are the decoder's prompt, `promptTokens` long, and what was
/// generated after it; `source` are the tokens of the encoder.
class RequestEdits final : public RowEdits {
 public:
  RequestEdits(const GenerationOptions& options, std::span<const std::int32_t> source,
               std::span<const std::int32_t> history, std::int64_t promptTokens)
      : options_(options), source_(source), history_(history), promptTokens_(promptTokens) {}

  bool mendsInvalid() const override { return edits().removeInvalidValues; }
  void beforePenalty(std::span<float> scores, RowScratch& scratch) const override;
  void beforeFilters(std::span<float> scores) const override;
  void afterFilters(std::span<float> scores, std::int64_t minTokens,
                    RowScratch& scratch) const override;

 private:
  const RowEditOptions& edits() const { return options_.edits; }
  std::int64_t length() const { return std::ssize(history_); }
  /// Tokens of the longest sequence that the request allows, the prompt included.
  std::int64_t maxLength() const { return promptTokens_ + options_.maxNewTokens; }
  /// Whether the history ends with all of `sequence` but its last token.
  bool leadsTo(std::span<const std::int32_t> sequence) const;
  void addBiases(std::span<float> scores) const;
  void forbidEncoderNgrams(std::span<float> scores) const;
  void forbidBadWords(std::span<float> scores) const;
  void forceEnds(std::span<float> scores) const;
  void raiseEndTokens(std::span<float> scores) const;
  void suppress(std::span<float> scores) const;

  const GenerationOptions& options_;
  std::span<const std::int32_t> source_;
  std::span<const std::int32_t> history_;
  std::int64_t promptTokens_;
};

/// Keeps the tokens whose information is closest to the row's entropy and whose probabilities sum
/// to at least `mass` (locally typical sampling, arXiv 2202.00666), and at least `minTokens` of
/// them.
void keepTypical(std::span<float> scores, double mass, std::int64_t minTokens, RowScratch& scratch);

/// Keeps tokens with at least probability `epsilon` (arXiv 2210.15191), and at least `minTokens`.
void keepEpsilon(std::span<float> scores, double epsilon, std::int64_t minTokens,
                 RowScratch& scratch);

/// As keepEpsilon with min(eta, sqrt(eta) * exp(-entropy)) for epsilon (eta sampling, same paper).
void keepEta(std::span<float> scores, double eta, std::int64_t minTokens, RowScratch& scratch);

/// NaN becomes 0, infinities the largest and the least finite number.
void removeInvalid(std::span<float> scores);

}  // namespace wgqa
