#include "test/decode_crowd.h"

#include <map>
#include <string>
#include <utility>

#include "test/harness.h"

namespace wgqa::test {

Crowd::Crowd(EncoderDecoder& model, std::uint32_t seed, const EngineOptions& options)
    : model_(model), options_(options), random_(seed), scheduler_(model, options) {
  listener_.processor = banSomeTokens;
}

void Crowd::run(bool aborts) {
  std::size_t submitted = 0;
  while (submitted < requests_.size() || scheduler_.hasWork() || !paused_.empty()) {
    while (submitted < requests_.size() && random_() % 3 != 0) {
      scheduler_.submit(submitted, requests_[submitted]);
      ++submitted;
    }
    if (aborts && submitted > 0 && random_() % 6 == 0) abort(random_() % submitted);
    if (submitted > 0 && random_() % 4 == 0) pause(random_() % submitted);
    if (random_() % 3 == 0) resumeAll();
    listener_.step(scheduler_);
    scheduler_.checkInvariant();
  }
}

void Crowd::check(std::int64_t aloneBytes) {
  const EngineStats stats = scheduler_.stats();
  CHECK_EQUAL(stats.selfBlocks.referenced + stats.crossBlocks.referenced, 0);
  CHECK_EQUAL(listener_.results.size(), requests_.size());
  CHECK_EQUAL(stats.completed + stats.aborted, static_cast<std::int64_t>(requests_.size()));
  EngineOptions alone = options_;
  alone.maxCacheBytes = aloneBytes;
  for (const auto& [id, result] : listener_.results) {
    if (aborted_.contains(id) && result.error) {
      CHECK(result.error->code() == ErrorCode::aborted);
      continue;
    }
    if (result.error) {
      fail(std::to_string(id) + ": " + result.error->what());
      continue;
    }
    const auto sequences = decodeAlone(model_, alone, requests_[id], banSomeTokens);
    checkSameSequences(result.sequences, sequences);
    checkReported(id, sequences);
  }
}

void Crowd::abort(RequestId id) {
  scheduler_.abort(id);
  aborted_.insert(id);
  paused_.erase(id);
}

void Crowd::pause(RequestId id) {
  scheduler_.setPaused(id, true);
  paused_.insert(id);
}

void Crowd::resumeAll() {
  for (const RequestId id : paused_) scheduler_.setPaused(id, false);
  paused_.clear();
}

/// Each token was reported once, in its order.
void Crowd::checkReported(RequestId id, const std::vector<GeneratedSequence>& sequences) {
  const GenerationRequest& request = requests_[id];
  CHECK_EQUAL(listener_.tokens.contains(id), request.reportTokens);
  if (!request.reportTokens) return;
  std::map<std::int32_t, std::vector<std::int32_t>> reported;
  for (const GeneratedToken& token : listener_.tokens[id]) {
    reported[token.sequence].push_back(token.token);
  }
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    const auto& ids = sequences[i].tokenIds;
    const auto begin = ids.begin() + static_cast<std::ptrdiff_t>(request.forcedPrefix.size());
    CHECK(reported[static_cast<std::int32_t>(i)] == std::vector<std::int32_t>(begin, ids.end()));
  }
}

}  // namespace wgqa::test
