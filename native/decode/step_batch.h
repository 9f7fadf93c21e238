// One decoding step of many requests: what the model gets, and its logits.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/buffer.h"
#include "decode/active_request.h"
#include "decode/kv_cache.h"
#include "model/decode_step.h"

namespace wgqa {

/// Its memory is reused from step to step.
class StepBatch {
 public:
  void clear();
  /// Adds the request's sequences, each with room in the cache for the token that it feeds.
  void add(ActiveRequest& request);
  /// Copies shared blocks that are about to be written, then runs the model.
  void run(EncoderDecoder& model, KvCache& cache);

  std::int64_t rows() const { return static_cast<std::int64_t>(tokens_.size()); }
  /// Hands every row of logits to its request's strategy, rows in parallel.
  void scoreRows(std::vector<RowScratch>& scratch);

 private:
  struct Row {
    Strategy* strategy;
    std::int64_t row;
  };
  /// Block tables of the rows, one after another.
  struct Tables {
    std::vector<std::int32_t> blocks;
    std::vector<std::int32_t> offsets{0};
    std::vector<std::int32_t> lengths;

    void clear();
    void add(const BlockTable& table);
    BlockTables view() const { return {blocks, offsets, lengths}; }
  };

  std::vector<Row> rowOwners_;
  std::vector<std::int32_t> tokens_;
  Tables self_;
  Tables cross_;
  std::vector<std::int64_t> selfSlots_;
  std::vector<BlockCopy> copies_;
  Buffer logits_;  // [rows, vocab] float32
  std::int64_t vocab_ = 0;
};

}  // namespace wgqa
