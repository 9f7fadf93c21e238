#include "decode/admission.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

namespace wgqa {

void Admission::enqueue(Request& request) { waiting_.emplace(request.arrival(), &request); }

void Admission::remove(Request& request) {
  leaveCache(request);
  waiting_.erase(request.arrival());
}

void Admission::leaveCache(Request& request) {
  if (!request.isAdmitted()) return;
  std::erase(active_, &request);
  const CachedSource* source = request.source();
  const bool isWanted =
      source->isReady || std::any_of(active_.begin(), active_.end(), [&](const Request* other) {
        return other->source() == source;
      });
  if (!isWanted) lane_.forget(*source);
  request.giveUpBlocks();
}

// ---------------------------------------------------------------------------- joining

void Admission::admitWaiting(Request::TimePoint now) {
  for (auto next = waiting_.begin(); next != waiting_.end();) {
    Request& request = *next->second;
    ++next;
    if (!request.isHeld() && !tryAdmit(request, now)) return;
  }
}

bool Admission::tryAdmit(Request& request, Request::TimePoint now) {
  if (sequencesRunning() + request.maxRows() > maxSequences_) return false;
  const auto& ids = request.request().inputIds;
  const auto tokens = static_cast<std::int64_t>(ids.size());
  SourceUse source = cache_.sources().find(ids);
  const bool isKnown = static_cast<bool>(source);
  if (!isKnown && !lane_.hasRoom(tokens)) return false;
  const std::int64_t crossBlocks = isKnown ? 0 : cache_.cross().blocksFor(tokens);
  const std::int64_t selfBlocks = request.blocksOfHistories(cache_.self().blockTokens());
  if (!makeRoomToAdmit(selfBlocks, crossBlocks, source)) return false;
  if (!isKnown) {
    cache_.makeRoom(selfBlocks, crossBlocks);
    source = cache_.sources().add(ids);
  }
  if (!source->isReady) encode(*source);
  if (request.preemptions == 0) {
    sources_ += 1;
    sourceHits_ += isKnown ? 1 : 0;
  }
  request.workBegan(now, isKnown ? tokens : 0);
  request.admit(std::move(source));
  makeActive(request);
  return true;
}

void Admission::encode(const CachedSource& source) {
  if (lane_.holds(source)) {
    lane_.want(source);
  } else {
    // New, or left by who waited for it: making room preempts.
    lane_.add(cache_.sources().find(source.ids));
  }
}

/// Beside a block for each running sequence: who is admitted should not have to leave at once.
/// Paused requests give way, if that is enough.
bool Admission::makeRoomToAdmit(std::int64_t selfBlocks, std::int64_t crossBlocks,
                                const SourceUse& source) {
  const std::int64_t wanted = selfBlocks + sequencesRunning();
  if (cache_.canMakeRoom(wanted, crossBlocks)) return true;
  if (!pausedHoldEnough(wanted, crossBlocks, source)) return false;
  while (!cache_.canMakeRoom(wanted, crossBlocks)) {
    Request* paused = youngestPaused();
    if (paused == nullptr) return false;
    preempt(*paused);
  }
  return true;
}

/// Whether so many blocks would fit beside `source` if no paused request held any.
bool Admission::pausedHoldEnough(std::int64_t selfBlocks, std::int64_t crossBlocks,
                                 const SourceUse& source) const {
  std::vector<const BlockTable*> tables;
  std::unordered_map<const CachedSource*, bool> sources;  // whether only paused requests use it
  for (const Request* request : active_) {
    if (request->isPaused) request->collectTables(tables);
    const auto [place, isNew] = sources.emplace(request->source(), request->isPaused);
    place->second = place->second && request->isPaused;
  }
  std::unordered_map<std::int32_t, std::int32_t> uses;  // of each block by paused requests
  for (const BlockTable* table : tables) {
    for (const std::int32_t block : table->blocks()) ++uses[block];
  }
  const BlockPool& pool = cache_.self().pool();
  const auto freed = std::count_if(uses.begin(), uses.end(), [&](const auto& use) {
    return pool.references(use.first) == use.second;
  });
  std::int64_t freedCross = 0;
  if (source) sources[&*source] = false;
  for (const auto& [used, isOnlyPaused] : sources) {
    if (isOnlyPaused) freedCross += static_cast<std::int64_t>(used->table.blocks().size());
  }
  return cache_.canMakeRoom(selfBlocks - freed, crossBlocks - freedCross);
}

std::int64_t Admission::sequencesRunning() const {
  std::int64_t sequences = 0;
  for (const Request* request : active_) {
    if (!request->isPaused) sequences += request->maxRows();
  }
  return sequences;
}

void Admission::makeActive(Request& request) {
  waiting_.erase(request.arrival());
  const auto place = std::upper_bound(
      active_.begin(), active_.end(), request.arrival(),
      [](Request::Arrival arrival, const Request* other) { return arrival < other->arrival(); });
  active_.insert(place, &request);
}

// ---------------------------------------------------------------------------- giving way

void Admission::preempt(Request& victim) {
  ++victim.preemptions;
  ++preemptions_;
  leaveCache(victim);
  enqueue(victim);
}

Admission::Request* Admission::youngestPaused() const {
  const auto paused = std::find_if(active_.rbegin(), active_.rend(),
                                   [](const Request* request) { return request->isPaused; });
  return paused == active_.rend() ? nullptr : *paused;
}

/// Who gives way to `request`: first who is not read anyway, then who came last, but nobody who
/// came before it. So the oldest request always gets on, and in the end everyone.
Admission::Request* Admission::victimFor(const Request& request) const {
  if (Request* paused = youngestPaused()) return paused;
  Request* youngest = active_.back();
  return youngest == &request ? nullptr : youngest;
}

bool Admission::makeRoomFor(Request& request, std::int64_t blocks) {
  while (!cache_.makeRoom(blocks, 0)) {
    Request* victim = victimFor(request);
    if (victim == nullptr) return false;
    preempt(*victim);
  }
  return true;
}

// ---------------------------------------------------------------------------- accounts

bool Admission::hasWork() const {
  const auto isFree = [](const Request* request) { return !request->isHeld(); };
  return std::any_of(active_.begin(), active_.end(), isFree) ||
         std::any_of(waiting_.begin(), waiting_.end(),
                     [&](const auto& waiting) { return isFree(waiting.second); });
}

void Admission::count(EngineStats& stats) const {
  stats.queued = static_cast<std::int64_t>(waiting_.size());
  stats.encoding = stats.running = stats.held = 0;
  for (const Request* request : active_) {
    if (request->isHeld()) {
      ++stats.held;
    } else {
      ++(request->isEncoded() ? stats.running : stats.encoding);
    }
  }
  stats.preemptions = preemptions_;
  stats.sources = sources_;
  stats.sourceHits = sourceHits_;
}

}  // namespace wgqa
