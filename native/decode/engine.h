// The decode engine: a scheduler on a thread of its own.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "decode/engine_events.h"
#include "decode/engine_stats.h"
#include "decode/generation_request.h"
#include "decode/scheduler.h"
#include "model/decode_step.h"

namespace wgqa {

/// All methods may be called from any thread, but for stop() from the engine's own.
class Engine {
 public:
  /// Makes the model on the engine's thread, when a request needs it. If it throws, so does the
  /// request fail; the next one tries again.
  using MakeModel = std::function<std::unique_ptr<EncoderDecoder>()>;
  /// Called on the engine's thread after each step that has something to tell; must not throw.
  using Listener = std::function<void(EngineEvents&&)>;

  /// `threads`: of the engine's parallel work, 0 for the default. Bad options fail every request.
  /// Starts the thread; reserves no memory yet.
  Engine(MakeModel makeModel, const EngineOptions& options, int threads, Listener listener);
  /// stop().
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  /// As Scheduler's. Every submitted request gets one FinishEvent, unless the engine had stopped.
  void submit(RequestId id, GenerationRequest request);
  void abort(RequestId id);
  void setPaused(RequestId id, bool paused);
  void answerLogits(RequestId id, std::vector<float> logits);
  /// As of the last step; after stop(), as it was then.
  EngineStats stats() const;
  /// Fails all requests with ErrorCode::disposed, their events still delivered, frees the model and
  /// the cache, and joins the thread. Idempotent; requests submitted later are ignored.
  void stop();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace wgqa
