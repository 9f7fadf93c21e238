#include "decode/step_batch.h"

#include <algorithm>

#include "base/parallel.h"

namespace wgqa {
namespace {

constexpr std::int64_t kScoreGrain = 16384;  // logits that are worth a thread

}  // namespace

void StepBatch::Tables::clear() {
  blocks.clear();
  offsets.assign(1, 0);
  lengths.clear();
}

void StepBatch::Tables::add(const BlockTable& table) {
  blocks.insert(blocks.end(), table.blocks().begin(), table.blocks().end());
  offsets.push_back(static_cast<std::int32_t>(blocks.size()));
  lengths.push_back(static_cast<std::int32_t>(table.length()));
}

void StepBatch::clear() {
  rowOwners_.clear();
  tokens_.clear();
  self_.clear();
  cross_.clear();
  selfSlots_.clear();
  copies_.clear();
}

void StepBatch::add(ActiveRequest& request) {
  const auto continuations = request.continuations();
  for (std::int64_t row = 0; row < request.rows(); ++row) {
    rowOwners_.push_back({&request.strategy(), row});
    tokens_.push_back(continuations[row].token);
    BlockTable& table = request.selfTable(row);
    const AppendedSlot appended = table.append();
    if (appended.copy) copies_.push_back(*appended.copy);
    selfSlots_.push_back(appended.slot);
    self_.add(table);
    cross_.add(request.crossTable());
  }
}

void StepBatch::run(EncoderDecoder& model, KvCache& cache) {
  vocab_ = model.vocabSize();
  logits_.reserve(static_cast<std::size_t>(rows() * vocab_) * sizeof(float));
  cache.enforceBudget();
  cache.self().copy(copies_);
  DecodeStep step;
  step.tokens = tokens_;
  step.selfCache = cache.self().layers();
  step.self = self_.view();
  step.selfSlots = selfSlots_;
  step.crossCache = cache.cross().layers();
  step.cross = cross_.view();
  step.logits = TensorView(logits_.as<void>(), DType::float32, {rows(), vocab_});
  model.decodeStep(step);
}

void StepBatch::scoreRows(std::vector<RowScratch>& scratch) {
  const auto threads = static_cast<std::size_t>(threadCount());
  if (scratch.size() < threads) scratch.resize(threads);
  const std::int64_t grain = std::max<std::int64_t>(kScoreGrain / vocab_, 1);
  parallelFor(rows(), grain, [&](std::int64_t begin, std::int64_t end, int thread) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::span<float> logits(logits_.as<float>() + i * vocab_,
                                    static_cast<std::size_t>(vocab_));
      rowOwners_[i].strategy->scoreRow(rowOwners_[i].row, logits, scratch[thread]);
    }
  });
}

}  // namespace wgqa
