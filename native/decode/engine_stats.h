// What an engine holds and has done.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

#include "decode/kv_cache.h"

namespace wgqa {

/// Percentiles, in milliseconds, over the last 1,024 values; 0 before the first.
struct Percentiles {
  double p50 = 0.0;
  double p90 = 0.0;
  double p99 = 0.0;
  double max = 0.0;
};

/// Keeps the last 1,024 values.
class RecentValues {
 public:
  void add(double value);
  double sum() const;
  Percentiles percentiles() const;

 private:
  static constexpr std::size_t kCapacity = 1024;
  std::vector<double> values_;
  std::size_t next_ = 0;
};

struct EngineStats {
  // Requests by state. Each is in one of these: waiting to be admitted, or to be resumed after a
  // preemption; being encoded; decoding; held up by a slow reader or a logits processor.
  std::int64_t queued = 0;
  std::int64_t encoding = 0;
  std::int64_t running = 0;
  std::int64_t held = 0;
  // Requests that ended, and how.
  std::int64_t completed = 0;
  std::int64_t aborted = 0;
  std::int64_t failed = 0;  // any other error, timeouts included
  std::int64_t preemptions = 0;

  std::int64_t cacheBytes = 0;  // of blocks referenced or cached
  std::int64_t maxCacheBytes = 0;
  std::int64_t selfBytesPerToken = 0;
  std::int64_t crossBytesPerToken = 0;
  BlockCounts selfBlocks;
  BlockCounts crossBlocks;

  // Tokens looked up in the prefix index, and found; sources looked up, and found.
  std::int64_t prefixTokens = 0;
  std::int64_t prefixHits = 0;
  std::int64_t sources = 0;
  std::int64_t sourceHits = 0;

  std::int64_t encodedTokens = 0;
  std::int64_t decodeSteps = 0;
  std::int64_t decodedRows = 0;      // fed to decoding steps, replayed ones included
  std::int64_t generatedTokens = 0;  // of the sequences that were returned
  double encodeSeconds = 0.0;
  double decodeSeconds = 0.0;
  double tokensPerSecond = 0.0;  // rows scored in the last 1,024 steps, by their time
  Percentiles stepMilliseconds;  // a step of the engine: a slice of encoding and a decoding step
  Percentiles firstTokenMilliseconds;  // from submission
  std::int64_t decodeWeightBytes = 0;
};

/// The running account of one thread, readable by all.
class StatsRecorder {
 public:
  /// What a step added to.
  void publish(const EngineStats& stats);
  void stepTook(double milliseconds, std::int64_t tokens);
  void firstTokenTook(double milliseconds);
  EngineStats snapshot() const;

 private:
  mutable std::mutex mutex_;
  EngineStats stats_;
  RecentValues stepMilliseconds_;
  RecentValues stepTokens_;
  RecentValues firstTokenMilliseconds_;
};

}  // namespace wgqa
