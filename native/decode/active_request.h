// A request that is being decoded: its strategy and the cache blocks it holds.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "decode/decoder.h"
#include "decode/kv_cache.h"
#include "decode/strategy.h"

namespace wgqa {

/// A request and where its result goes; both outlive the work on it.
struct Ticket {
  const GenerationRequest* request;
  GenerationResult* result;

  bool isAborted() const { return request->abort != nullptr && request->abort->load(); }
};

class ActiveRequest {
 public:
  ActiveRequest(const Ticket& ticket, KvCache& cache);

  const Ticket& ticket() const { return ticket_; }
  Strategy& strategy() { return *strategy_; }
  bool isFinished() const { return rows_ == 0; }

  /// Sequences of the next step.
  std::int64_t rows() const { return rows_; }
  std::span<const Continuation> continuations() const { return strategy_->continuations(); }
  BlockTable& selfTable(std::int64_t row) { return self_[row]; }
  /// The source's keys and values, read by all of the request's sequences.
  BlockTable& crossTable() { return cross_; }

  /// The most sequences that a later step can have.
  std::int64_t maxSequences() const;

  /// Chooses the next tokens; each continuation then shares its parent's blocks.
  void advance();

  /// Adds every block table the request holds to `tables`.
  void collectTables(std::vector<const BlockTable*>& self,
                     std::vector<const BlockTable*>& cross) const;

 private:
  bool keepsRows(std::span<const Continuation> next) const;
  void followParents(std::span<const Continuation> next);

  Ticket ticket_;
  std::unique_ptr<Strategy> strategy_;
  BlockTable cross_;
  std::vector<BlockTable> self_;   // [maxSequences], the first rows_ in use
  std::vector<BlockTable> spare_;  // as self_, all empty
  std::int64_t rows_ = 1;
  bool started_ = false;
};

}  // namespace wgqa
