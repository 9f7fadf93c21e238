#include "decode/active_request.h"

namespace wgqa {

ActiveRequest::ActiveRequest(const Ticket& ticket, KvCache& cache)
    : ticket_(ticket),
      strategy_(makeStrategy(*ticket.request)),
      cross_(cache.cross().pool(), cache.cross().blockTokens()) {
  const std::int64_t sequences = ticket.request->options.sequences();
  for (std::int64_t i = 0; i < sequences; ++i) {
    self_.emplace_back(cache.self().pool(), cache.self().blockTokens());
    spare_.emplace_back(cache.self().pool(), cache.self().blockTokens());
  }
}

std::int64_t ActiveRequest::maxSequences() const {
  const GenerationOptions& options = ticket_.request->options;
  // Samples only ever end; beams may become as many as asked for.
  return started_ && options.numBeams == 1 ? rows_ : options.sequences();
}

void ActiveRequest::advance() {
  strategy_->advance();
  const auto next = strategy_->continuations();
  if (!keepsRows(next)) followParents(next);
  rows_ = static_cast<std::int64_t>(next.size());
  started_ = true;
}

bool ActiveRequest::keepsRows(std::span<const Continuation> next) const {
  if (static_cast<std::int64_t>(next.size()) != rows_) return false;
  for (std::size_t row = 0; row < next.size(); ++row) {
    if (next[row].parent != static_cast<std::int32_t>(row)) return false;
  }
  return true;
}

void ActiveRequest::followParents(std::span<const Continuation> next) {
  for (std::size_t row = 0; row < next.size(); ++row) {
    spare_[row].shareFrom(self_[next[row].parent]);
  }
  std::swap(self_, spare_);
  for (BlockTable& table : spare_) table.clear();
}

void ActiveRequest::collectTables(std::vector<const BlockTable*>& self,
                                  std::vector<const BlockTable*>& cross) const {
  for (const BlockTable& table : self_) self.push_back(&table);
  cross.push_back(&cross_);
}

}  // namespace wgqa
