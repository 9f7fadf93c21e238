// One decoding step of many requests: what the model gets, and its logits.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/buffer.h"
#include "decode/kv_cache.h"
#include "decode/strategy.h"
#include "model/decode_step.h"

namespace wgqa {

/// Its memory is reused from step to step.
class StepBatch {
 public:
  void clear();
  /// Adds a row that feeds `token` to `self`; the cache has room for it.
  void add(BlockTable& self, const BlockTable& cross, std::int32_t token);
  /// The row that was added last wants its logits. Returns their place among all logits.
  std::int64_t wantLogits();

  /// Undoes what was added since mark(). (The tables keep their new tokens: the caller clears
  /// them.)
  struct Mark {
    std::size_t rows, logits, selfBlocks, crossBlocks, copies;
  };
  Mark mark() const;
  void rollBack(const Mark& mark);

  std::int64_t rows() const { return static_cast<std::int64_t>(tokens_.size()); }
  /// Copies shared blocks that are about to be written, then runs the model.
  void run(EncoderDecoder& model, KvCache& cache);
  /// [vocab] logits of run(), which the caller may overwrite.
  std::span<float> logits(std::int64_t place);

 private:
  void copyBlocks(EncoderDecoder& model, KvCache& cache);

  /// Block tables of the rows, one after another.
  struct Tables {
    std::vector<std::int32_t> blocks;
    std::vector<std::int32_t> offsets{0};
    std::vector<std::int32_t> lengths;

    void add(const BlockTable& table);
    void shrink(std::size_t rows, std::size_t blockCount);
    BlockTables view() const { return {blocks, offsets, lengths}; }
  };

  std::vector<std::int32_t> tokens_;
  Tables self_;
  Tables cross_;
  std::vector<std::int64_t> selfSlots_;
  std::vector<std::int32_t> logitRows_;
  std::vector<BlockCopy> copies_;
  std::vector<std::int32_t> sources_, destinations_;  // of the copies
  Buffer logits_;                                     // [logitRows, vocab] float32
  std::int64_t vocab_ = 0;
};

/// A row of logits and who chooses from it.
struct ScoredRow {
  Strategy* strategy;
  std::int64_t row;
  std::span<float> logits;
  std::span<const float> unprocessed;  // what the model gave: `logits`, unless they were changed
};

/// Hands every row to its strategy, rows in parallel.
void scoreRows(std::span<const ScoredRow> rows, std::vector<RowScratch>& scratch);

}  // namespace wgqa
