// One decoding step of many requests: what the model gets, and what comes of it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/buffer.h"
#include "decode/kv_cache.h"
#include "decode/step_choices.h"
#include "decode/strategy.h"
#include "model/decode_step.h"

namespace wgqa {

/// Its memory is reused from step to step.
class StepBatch {
 public:
  explicit StepBatch(std::int64_t vocab) : vocab_(vocab), choices_(vocab) {}

  void clear();
  /// Adds a row that feeds `token` to `self`; the cache has room for it.
  void add(BlockTable& self, const BlockTable& cross, std::int32_t token);
  /// From the row that was added last, `strategy` chooses the tokens of its own row `row`.
  void choose(Strategy& strategy, std::int64_t row);
  /// The row that was added last wants its logits on the host. Returns their place among those.
  std::int64_t wantLogits();

  /// Undoes what was added since mark(). (The tables keep their new tokens: the caller clears
  /// them.)
  struct Mark {
    std::size_t rows, logits, hostRows, selfBlocks, crossBlocks, copies;
    StepChoices::Mark choices;
  };
  Mark mark() const;
  void rollBack(const Mark& mark);

  std::int64_t rows() const { return static_cast<std::int64_t>(tokens_.size()); }
  std::int64_t choosingRows() const {
    return static_cast<std::int64_t>(logitRows_.size() - hostRows_.size());
  }
  /// Copies shared blocks that are about to be written, runs the model, and hands the strategies
  /// what was chosen.
  void run(EncoderDecoder& model, KvCache& cache);
  /// [rows, vocab] logits of run(), of rows that wanted them one after another, to be overwritten.
  std::span<float> logits(std::int64_t place, std::int64_t rows);

 private:
  void copyBlocks(EncoderDecoder& model, KvCache& cache);
  std::int64_t addLogits();

  /// Block tables of the rows, one after another.
  struct Tables {
    std::vector<std::int32_t> blocks;
    std::vector<std::int32_t> offsets{0};
    std::vector<std::int32_t> lengths;

    void add(const BlockTable& table);
    void shrink(std::size_t rows, std::size_t blockCount);
    BlockTables view() const { return {blocks, offsets, lengths}; }
  };

  std::int64_t vocab_;
  std::vector<std::int32_t> tokens_;
  Tables self_;
  Tables cross_;
  std::vector<std::int64_t> selfSlots_;
  std::vector<std::int32_t> logitRows_;
  StepChoices choices_;
  std::vector<std::int32_t> hostRows_;
  std::vector<BlockCopy> copies_;
  std::vector<std::int32_t> sources_, destinations_;  // of the copies
  Buffer hostLogits_;                                 // [hostRows, vocab] float32
};

}  // namespace wgqa
