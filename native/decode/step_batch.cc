#include "decode/step_batch.h"

namespace wgqa {

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

std::int64_t StepBatch::addLogits() {
  logitRows_.push_back(static_cast<std::int32_t>(rows() - 1));
  return static_cast<std::int64_t>(logitRows_.size()) - 1;
}

void StepBatch::choose(Strategy& strategy, std::int64_t row) {
  choices_.add(strategy, row, addLogits());
}

std::int64_t StepBatch::wantLogits() {
  hostRows_.push_back(static_cast<std::int32_t>(addLogits()));
  return static_cast<std::int64_t>(hostRows_.size()) - 1;
}

StepBatch::Mark StepBatch::mark() const {
  return {tokens_.size(),       logitRows_.size(), hostRows_.size(), self_.blocks.size(),
          cross_.blocks.size(), copies_.size(),    choices_.mark()};
}

void StepBatch::rollBack(const Mark& mark) {
  tokens_.resize(mark.rows);
  selfSlots_.resize(mark.rows);
  logitRows_.resize(mark.logits);
  hostRows_.resize(mark.hostRows);
  self_.shrink(mark.rows, mark.selfBlocks);
  cross_.shrink(mark.rows, mark.crossBlocks);
  copies_.resize(mark.copies);
  choices_.rollBack(mark.choices);
}

void StepBatch::copyBlocks(EncoderDecoder& model, KvCache& cache) {
  if (copies_.empty()) return;
  sources_.clear();
  destinations_.clear();
  for (const BlockCopy& copy : copies_) {
    sources_.push_back(copy.source);
    destinations_.push_back(copy.destination);
  }
  for (const TensorView& blocks : cache.self().blocks()) {
    model.copyBlocks({blocks, sources_, destinations_});
  }
}

void StepBatch::run(EncoderDecoder& model, KvCache& cache) {
  const auto wanted = static_cast<std::int64_t>(hostRows_.size());
  hostLogits_.reserve(static_cast<std::size_t>(wanted * vocab_) * sizeof(float));
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
  step.choices = choices_.view();
  step.chosen = choices_.chosen();
  step.hostRows = hostRows_;
  step.hostLogits = TensorView(hostLogits_.as<void>(), DType::float32, {wanted, vocab_});
  model.decodeStep(step);
  choices_.deliver();
}

std::span<float> StepBatch::logits(std::int64_t place, std::int64_t rows) {
  return {hostLogits_.as<float>() + place * vocab_, static_cast<std::size_t>(rows * vocab_)};
}

}  // namespace wgqa
