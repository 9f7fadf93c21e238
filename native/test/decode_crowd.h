// Callers that come at random times, change their minds and read slowly; and what each must get all
// the same.
#pragma once

#include <random>
#include <set>
#include <vector>

#include "decode/scheduler.h"
#include "test/decode_fake_model.h"

namespace wgqa::test {

class Crowd {
 public:
  Crowd(EncoderDecoder& model, std::uint32_t seed, const EngineOptions& options);

  void add(GenerationRequest request) { requests_.push_back(std::move(request)); }
  /// Until every request has come and ended. The scheduler's invariant is checked in each step.
  void run(bool aborts);
  /// Every request that was not aborted against what it gives alone, with a cache for `aloneBytes`.
  void check(std::int64_t aloneBytes);

  const Scheduler& scheduler() const { return scheduler_; }

 private:
  void abort(RequestId id);
  void pause(RequestId id);
  void resumeAll();
  void checkReported(RequestId id, const std::vector<GeneratedSequence>& sequences);

  EncoderDecoder& model_;
  EngineOptions options_;
  std::mt19937 random_;
  Scheduler scheduler_;
  Listener listener_;
  std::vector<GenerationRequest> requests_;
  std::set<RequestId> aborted_;
  std::set<RequestId> paused_;
};

}  // namespace wgqa::test
