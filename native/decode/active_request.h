// A request that has not ended: its strategy, and the cache blocks that it holds while it is
// admitted.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "decode/generation_request.h"
#include "decode/kv_cache.h"
#include "decode/strategy.h"

namespace wgqa {

class ActiveRequest {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  /// Requests are served in the order of these.
  using Arrival = std::uint64_t;

  ActiveRequest(RequestId id, Arrival arrival, GenerationRequest request, TimePoint submitted,
                const TokenCallback& onToken);
  ActiveRequest(const ActiveRequest&) = delete;
  ActiveRequest& operator=(const ActiveRequest&) = delete;

  RequestId id() const { return id_; }
  Arrival arrival() const { return arrival_; }
  const GenerationRequest& request() const { return request_; }
  Strategy& strategy() { return *strategy_; }
  /// Sequences of the next step.
  std::int64_t rows() const;
  /// The most sequences that a later step can have.
  std::int64_t maxRows() const { return request_.options.sequences(); }
  bool isFinished() const { return rows() == 0; }

  // The cache.

  /// Admitted requests hold their source and, once they have fed tokens, blocks of their own.
  bool isAdmitted() const { return static_cast<bool>(source_); }
  bool isEncoded() const { return isAdmitted() && source_->isReady; }
  const CachedSource* source() const { return isAdmitted() ? &*source_ : nullptr; }
  void admit(SourceUse source) { source_ = std::move(source); }
  /// Gives up all blocks. The strategy stays: its histories can be fed again.
  void giveUpBlocks();
  /// Self-attention blocks that feeding all rows' histories takes, if nothing of them is in the
  /// cache but what the rows have in common is shared.
  std::int64_t blocksOfHistories(std::int64_t blockTokens) const;

  BlockTable& selfTable(std::int64_t row) { return self_[static_cast<std::size_t>(row)]; }
  /// Tokens of the row's history that are not in its table yet: at least the last one.
  std::span<const std::int32_t> unfed(std::int64_t row) const;
  bool isCaughtUp(std::int64_t row) const { return unfed(row).size() == 1; }
  /// Gives a row without blocks what the cache knows of its history: from the index, or from a row
  /// before it. Returns the tokens that were looked up and found.
  struct Lookup {
    std::int64_t tokens = 0;
    std::int64_t hits = 0;
  };
  Lookup findPrefix(std::int64_t row, KvCache& cache);
  /// Makes what the rows have fed known to later requests.
  void learnPrefixes(PrefixIndex& index, std::int64_t blockTokens);

  /// After every row took its tokens: decides the next ones; each continuation shares its parent's
  /// blocks.
  void advance();

  /// Adds every block table that the request holds to `tables`.
  void collectTables(std::vector<const BlockTable*>& tables) const;

  // What it waits for.

  /// `sent`: its last logits are with the caller, for a moment; `answered`: they are back.
  enum class Logits : std::uint8_t { ours, sent, answered };
  Logits logits = Logits::ours;
  std::vector<float> unprocessed;  // [rows, vocab] what was sent, if log-probabilities are wanted
  std::vector<float> answer;       // [rows, vocab]
  /// Its caller does not read what it generates.
  bool isPaused = false;
  /// Cannot take part in a step.
  bool isHeld() const { return isPaused || logits == Logits::sent; }

  // What its result will tell.

  std::optional<TimePoint> deadline() const;
  /// Whether options.maxTimeMilliseconds have passed since it was submitted.
  bool isOutOfTime(TimePoint now) const;
  void workBegan(TimePoint now, std::int64_t cachedTokens);
  /// True if it was the first time.
  bool wasScored(TimePoint now);
  double firstTokenMilliseconds() const { return timing_.firstTokenMilliseconds; }
  std::int64_t preemptions = 0;
  /// A result without sequences, its times filled in.
  GenerationResult makeResult(TimePoint now) const;

 private:
  bool keepsRows(std::span<const Continuation> next) const;
  void followParents(std::span<const Continuation> next);
  void makeTables(KvCache& cache);
  /// The earlier row that shares the longest beginning, and its length.
  std::pair<std::int64_t, std::int64_t> closestRow(std::int64_t row) const;

  RequestId id_;
  Arrival arrival_;
  GenerationRequest request_;
  TimePoint submitted_;
  std::unique_ptr<Strategy> strategy_;
  SourceUse source_;
  std::vector<BlockTable> self_;   // [maxRows] once admitted, the first rows() in use
  std::vector<BlockTable> spare_;  // as self_, all empty
  std::int64_t tableRows_ = 1;     // rows of the last step
  bool hasBegun_ = false;
  bool hasScored_ = false;
  GenerationResult timing_;
};

/// Tokens that two sequences begin with alike.
std::int64_t commonPrefix(std::span<const std::int32_t> a, std::span<const std::int32_t> b);

}  // namespace wgqa
