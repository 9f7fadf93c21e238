// What the decode engine does in each step, on one thread and without waiting for anything: which
// requests join, which source tokens are encoded, which rows are decoded, who gives up its blocks.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/dtype.h"
#include "decode/engine_events.h"
#include "decode/engine_stats.h"
#include "decode/generation_request.h"
#include "model/decode_step.h"

namespace wgqa {

struct EngineOptions {
  std::int64_t blockTokens = 16;      // tokens of a cache block
  std::int64_t maxCacheBytes = 0;     // budget of self- and cross-attention together
  DType cacheDtype = DType::float32;  // float32 | float16 | bfloat16 | int8
  std::int64_t maxBatchSize = 64;     // sequences of a step; a beam or a sample is one
  /// Tokens of work that a step takes on beside one token of each running sequence: of encoding as
  /// much, and as much of tokens that are only fed (forced prefixes, and what a preempted request
  /// had generated). Small: short steps for running streams; large: more throughput.
  std::int64_t maxBatchTokens = 64;
};

/// Requests are admitted in the order of their arrival. When blocks run out, a paused request gives
/// up its own, then the one that came last; it is resumed when there is room, and has the same
/// result as if nothing had happened: what a request generates does not depend on what else there
/// is, nor on the options above. Used by one thread at a time; deterministic but for timeouts and
/// timings.
class Scheduler {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  using Clock = std::function<TimePoint()>;

  /// Throws ErrorCode::invalidArgument naming a bad option, and ErrorCode::unsupported for a type
  /// of the cache that the model cannot read. `clock` may be replaced for tests. `model` must
  /// outlive the scheduler.
  Scheduler(EncoderDecoder& model, const EngineOptions& options,
            Clock clock = std::chrono::steady_clock::now);
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  /// A request that can never run fails in the next step's events. `submitted`: when its caller
  /// sent it, the begin of its timeout and timings.
  void submit(RequestId id, GenerationRequest request, TimePoint submitted);
  void submit(RequestId id, GenerationRequest request);
  /// Ends the request with ErrorCode::aborted and frees its blocks at once. No effect once it has
  /// ended, as for all calls below.
  void abort(RequestId id);
  /// Ends every request with this error.
  void failAll(const Error& error);
  /// A paused request keeps its place and, while nobody needs them, its blocks.
  void setPaused(RequestId id, bool paused);
  /// The answer to a LogitsEvent: [rows, vocab]. With another size the request fails with
  /// ErrorCode::invalidArgument.
  void answerLogits(RequestId id, std::vector<float> logits);

  /// Whether a step would do anything now.
  bool hasWork() const;
  /// When the next request times out, if one has a timeout.
  std::optional<TimePoint> nextDeadline() const;
  /// One step. What the model throws becomes the error of the requests it was working on.
  void step(EngineEvents& events);

  /// As of the last step. Callable from any thread.
  EngineStats stats() const;
  /// Throws ErrorCode::internal unless every cache block is free, cached, or referenced exactly as
  /// often as requests hold it. For tests; also callable from within a step by the model.
  void checkInvariant() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace wgqa
