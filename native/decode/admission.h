// Who holds the cache: requests wait for their turn, are admitted in the order of their arrival,
// and give way when blocks run out.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "decode/active_request.h"
#include "decode/encode_lane.h"
#include "decode/engine_stats.h"
#include "decode/kv_cache.h"

namespace wgqa {

class Admission {
 public:
  using Request = ActiveRequest;

  /// `maxSequences`: the most that all admitted requests together may have.
  Admission(KvCache& cache, EncodeLane& lane, std::int64_t maxSequences)
      : cache_(cache), lane_(lane), maxSequences_(maxSequences) {}

  void enqueue(Request& request);
  /// The request waits no more and gives up what it holds: its blocks are free to others
  /// afterwards, unless others hold them too.
  void remove(Request& request);

  /// Admits who has a place and room; what is not in the cache yet goes into the encode lane.
  void admitWaiting(Request::TimePoint now);
  /// Makes room for so many self-attention blocks of an admitted request; others that came after it
  /// may have to wait again. False if the request itself is the one that has to give way.
  bool makeRoomFor(Request& request, std::int64_t blocks);
  /// Takes the blocks of an admitted request; it waits until there is room for it again.
  void preempt(Request& victim);

  /// Admitted requests in the order of their arrival.
  const std::vector<Request*>& active() const { return active_; }
  /// Whether a request that nobody holds up waits or is admitted.
  bool hasWork() const;
  /// Fills in what this knows: requests by state, preemptions, sources.
  void count(EngineStats& stats) const;

 private:
  bool tryAdmit(Request& request, Request::TimePoint now);
  void encode(const CachedSource& source);
  bool makeRoomToAdmit(std::int64_t selfBlocks, std::int64_t crossBlocks, const SourceUse& source);
  std::int64_t sequencesRunning() const;
  void makeActive(Request& request);
  Request* youngestPaused() const;
  bool pausedHoldEnough(std::int64_t selfBlocks, std::int64_t crossBlocks,
                        const SourceUse& source) const;
  Request* victimFor(const Request& request) const;
  void leaveCache(Request& request);

  KvCache& cache_;
  EncodeLane& lane_;
  std::int64_t maxSequences_;
  std::map<Request::Arrival, Request*> waiting_;
  std::vector<Request*> active_;
  std::int64_t preemptions_ = 0;
  std::int64_t sources_ = 0;
  std::int64_t sourceHits_ = 0;
};

}  // namespace wgqa
