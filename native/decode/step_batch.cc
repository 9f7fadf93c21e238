#include "decode/step_batch.h"

#include <algorithm>

#include "base/parallel.h"

namespace wgqa {
namespace {

constexpr std::int64_t kScoreGrain = 16384;  // logits that are worth a thread

}  // namespace

void StepBatch::Tables::add(const BlockTable& table) {
  blocks.insert(blocks.end(), table.blocks().begin(), table.blocks().end());
  offsets.push_back(static_cast<std::int32_t>(blocks.size()));
  lengths.push_back(static_cast<std::int32_t>(table.length()));
}

void StepBatch::Tables::shrink(std::size_t rows, std::size_t blockCount) {
  blocks.resize(blockCount);
  offsets.resize(rows + 1);
  lengths.resize(rows);
}

void StepBatch::clear() { rollBack({}); }

void StepBatch::add(BlockTable& self, const BlockTable& cross, std::int32_t token) {
  tokens_.push_back(token);
  const AppendedSlot appended = self.append();
  if (appended.copy) copies_.push_back(*appended.copy);
  selfSlots_.push_back(appended.slot);
  self_.add(self);
  cross_.add(cross);
}

std::int64_t StepBatch::wantLogits() {
  logitRows_.push_back(static_cast<std::int32_t>(rows() - 1));
  return static_cast<std::int64_t>(logitRows_.size()) - 1;
}

StepBatch::Mark StepBatch::mark() const {
  return {tokens_.size(), logitRows_.size(), self_.blocks.size(), cross_.blocks.size(),
          copies_.size()};
}

void StepBatch::rollBack(const Mark& mark) {
  tokens_.resize(mark.rows);
  selfSlots_.resize(mark.rows);
  logitRows_.resize(mark.logits);
  self_.shrink(mark.rows, mark.selfBlocks);
  cross_.shrink(mark.rows, mark.crossBlocks);
  copies_.resize(mark.copies);
}

void StepBatch::copyBlocks(EncoderDecoder& model, KvCache& cache) {
  if (copies_.empty()) return;
  sources_.clear();
  destinations_.clear();
  for (const BlockCopy& copy : copies_) {
    sources_.push_back(copy.source);
    destinations_.push_back(copy.destination);
  }
  model.copyBlocks({cache.self().blocks(), sources_, destinations_});
}

void StepBatch::run(EncoderDecoder& model, KvCache& cache) {
  vocab_ = model.vocabSize();
  const auto wanted = static_cast<std::int64_t>(logitRows_.size());
  logits_.reserve(static_cast<std::size_t>(wanted * vocab_) * sizeof(float));
  cache.prepareMemory();
  copyBlocks(model, cache);
  DecodeStep step;
  step.tokens = tokens_;
  step.selfCache = cache.self().layers();
  step.self = self_.view();
  step.selfSlots = selfSlots_;
  step.crossCache = cache.cross().layers();
  step.cross = cross_.view();
  step.logitRows = logitRows_;
  step.logits = TensorView(logits_.as<void>(), DType::float32, {wanted, vocab_});
  model.decodeStep(step);
}

std::span<float> StepBatch::logits(std::int64_t place) {
  return {logits_.as<float>() + place * vocab_, static_cast<std::size_t>(vocab_)};
}

void scoreRows(std::span<const ScoredRow> rows, std::vector<RowScratch>& scratch) {
  if (rows.empty()) return;
  const auto threads = static_cast<std::size_t>(threadCount());
  if (scratch.size() < threads) scratch.resize(threads);
  const auto vocab = static_cast<std::int64_t>(rows[0].logits.size());
  const std::int64_t grain = std::max<std::int64_t>(kScoreGrain / vocab, 1);
  const auto count = static_cast<std::int64_t>(rows.size());
  parallelFor(count, grain, [&](std::int64_t begin, std::int64_t end, int thread) {
    for (std::int64_t i = begin; i < end; ++i) {
      const ScoredRow& scored = rows[static_cast<std::size_t>(i)];
      scored.strategy->scoreRow(scored.row, scored.logits, scored.unprocessed,
                                scratch[static_cast<std::size_t>(thread)]);
    }
  });
}

}  // namespace wgqa
