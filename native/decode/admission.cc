#include "decode/admission.h"

#include <algorithm>
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
  if (!makeRoomToAdmit(selfBlocks, crossBlocks)) return false;
  if (!isKnown) {
    cache_.makeRoom(selfBlocks, crossBlocks);
    source = cache_.sources().add(ids);
    lane_.add(cache_.sources().find(ids));
  } else if (!source->isReady) {
    lane_.want(*source);
  }
  if (request.preemptions == 0) {
    sources_ += 1;
    sourceHits_ += isKnown ? 1 : 0;
  }
  request.workBegan(now, isKnown ? tokens : 0);
  request.admit(std::move(source));
  makeActive(request);
  return true;
}

/// Beside a block for each running sequence: who is admitted should not have to leave at once.
bool Admission::makeRoomToAdmit(std::int64_t selfBlocks, std::int64_t crossBlocks) {
  while (!cache_.canMakeRoom(selfBlocks + sequencesRunning(), crossBlocks)) {
    Request* held = youngestHeld();
    if (held == nullptr) return false;
    preempt(*held);
  }
  return true;
}

std::int64_t Admission::sequencesRunning() const {
  std::int64_t sequences = 0;
  for (const Request* request : active_) {
    if (!request->isHeld()) sequences += request->maxRows();
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

Admission::Request* Admission::youngestHeld() const {
  const auto held = std::find_if(active_.rbegin(), active_.rend(),
                                 [](const Request* request) { return request->isHeld(); });
  return held == active_.rend() ? nullptr : *held;
}

/// Who gives way to `request`: first who is held up anyway, then who came last, but nobody who came
/// before it. So the oldest request always gets on, and in the end everyone.
Admission::Request* Admission::victimFor(const Request& request) const {
  if (Request* held = youngestHeld()) return held;
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
