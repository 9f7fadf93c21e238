// Sources on their way into the cache: a slice of encoding per step, so that a long source holds up
// neither running streams nor short sources behind it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/error.h"
#include "decode/kv_cache.h"
#include "model/decode_step.h"

namespace wgqa {

class EncodeLane {
 public:
  /// `sliceTokens`: the work of one slice.
  EncodeLane(EncoderDecoder& model, KvCache& cache, std::int64_t sliceTokens)
      : model_(model), cache_(cache), sliceTokens_(sliceTokens) {}

  bool empty() const { return jobs_.empty(); }
  /// Whether a source of so many tokens may be added: encodings under way take up memory. An empty
  /// lane takes any.
  bool hasRoom(std::int64_t tokens) const;
  /// A source that is not ready; its table holds blocks for its tokens.
  void add(SourceUse source);
  /// Whether a source is on its way.
  bool holds(const CachedSource& source) const { return jobOf(source) != nullptr; }
  /// Somebody waits for a source that is on its way.
  void want(const CachedSource& source);
  /// Nobody waits for the source any more: its encoding stops, unless it shares it with others.
  void forget(const CachedSource& source);

  /// What could not be encoded, and why. The sources are no longer in the lane.
  struct Failure {
    std::vector<SourceUse> sources;
    Error error;
  };
  /// Does a slice, if there is something to do; a longer one while more sources wait than sequences
  /// are `running`. Sources that are done become ready.
  std::optional<Failure> advance(std::int64_t running);
  /// Tokens of the sources that are done, since the lane was made.
  std::int64_t encodedTokens() const { return encodedTokens_; }

 private:
  /// Sources that are encoded together.
  struct Job {
    std::vector<SourceUse> sources;
    std::vector<const CachedSource*> wanted;
    std::unique_ptr<SourceEncoding> encoding;  // null until its first slice
    std::int64_t tokens = 0;

    std::int64_t workLeft() const { return encoding ? encoding->workLeft() : tokens; }
  };
  Job* jobOf(const CachedSource& source) const;
  Job& choose(bool oldest);
  std::int64_t sliceFor(std::int64_t running) const;
  void joinWaiting(Job& job, std::int64_t left);
  void start(Job& job, std::int64_t left);
  /// Returns the work that was done: about what is `left` of the slice.
  std::int64_t advance(Job& job, std::int64_t left);
  void finish(Job& job);
  std::unique_ptr<Job> take(const Job& job);

  EncoderDecoder& model_;
  KvCache& cache_;
  std::int64_t sliceTokens_;
  std::int64_t tokens_ = 0;  // of all jobs
  std::int64_t slices_ = 0;
  std::int64_t encodedTokens_ = 0;
  std::vector<std::unique_ptr<Job>> jobs_;  // in the order of arrival
};

}  // namespace wgqa
