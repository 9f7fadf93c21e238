#include "kvcache/source_index.h"

#include <utility>

#include "base/error.h"
#include "kvcache/token_hash.h"

namespace wgqa {

// ---------------------------------------------------------------------------- uses

SourceUse::SourceUse(SourceUse&& other) noexcept
    : index_(std::exchange(other.index_, nullptr)),
      source_(std::exchange(other.source_, nullptr)) {}

SourceUse& SourceUse::operator=(SourceUse&& other) noexcept {
  std::swap(index_, other.index_);
  std::swap(source_, other.source_);
  return *this;
}

void SourceUse::reset() {
  if (source_ == nullptr) return;
  std::exchange(index_, nullptr)->leave(*std::exchange(source_, nullptr));
}

// ---------------------------------------------------------------------------- index

std::size_t SourceIndex::Hash::operator()(Ids ids) const {
  return static_cast<std::size_t>(hashTokens(0, ids));
}

SourceUse SourceIndex::use(Entry& entry) {
  if (entry.users++ == 0 && entry.idleSince != 0) wake(entry);
  return {*this, entry};
}

/// A source that somebody uses again is no longer idle.
void SourceIndex::wake(Entry& entry) {
  idle_.erase(std::exchange(entry.idleSince, 0));
  idleBlocks_ -= static_cast<std::int64_t>(entry.table.blocks().size());
}

SourceUse SourceIndex::find(Ids ids) {
  const auto found = entries_.find(ids);
  return found == entries_.end() ? SourceUse() : use(**found);
}

SourceUse SourceIndex::add(Ids ids) {
  auto entry = std::make_unique<Entry>(CachedSource{.root = {++lastRoot_, true},
                                                    .ids = {ids.begin(), ids.end()},
                                                    .table = BlockTable(pool_, blockTokens_)});
  for (std::size_t i = 0; i < ids.size(); ++i) entry->table.append();
  const auto [place, isNew] = entries_.insert(std::move(entry));
  require(isNew, "a source is added that is known");
  return use(**place);
}

void SourceIndex::leave(CachedSource& source) {
  auto& entry = static_cast<Entry&>(source);
  if (--entry.users > 0) return;
  if (!entry.isReady || entry.isForgotten) return remove(entry);
  entry.idleSince = clock_.next();
  idle_.emplace(entry.idleSince, &entry);
  idleBlocks_ += static_cast<std::int64_t>(entry.table.blocks().size());
}

void SourceIndex::remove(Entry& entry) {
  if (entry.isForgotten) {
    std::erase_if(forgotten_, [&](const auto& other) { return other.get() == &entry; });
  } else {
    entries_.erase(entries_.find(Ids(entry.ids)));
  }
}

std::uint64_t SourceIndex::oldestIdleUse() const {
  require(hasIdle(), "no source is idle");
  return idle_.begin()->first;
}

bool SourceIndex::evictOldest() {
  if (!hasIdle()) return false;
  Entry& entry = *idle_.begin()->second;
  wake(entry);
  remove(entry);
  return true;
}

void SourceIndex::clear() {
  while (evictOldest()) {
  }
  while (!entries_.empty()) {
    auto node = entries_.extract(entries_.begin());
    node.value()->isForgotten = true;
    forgotten_.push_back(std::move(node.value()));
  }
}

void SourceIndex::collectTables(std::vector<const BlockTable*>& tables) const {
  for (const auto& entry : entries_) tables.push_back(&entry->table);
  for (const auto& entry : forgotten_) tables.push_back(&entry->table);
}

void SourceIndex::checkInvariant() const {
  std::size_t idle = 0;
  std::int64_t idleBlocks = 0;
  for (const auto& entry : entries_) {
    require(entry->users >= 0 && !entry->isForgotten, "a source's state is wrong");
    if (entry->users > 0) continue;
    const auto place = idle_.find(entry->idleSince);
    require(place != idle_.end() && place->second == entry.get() && entry->isReady,
            "a source without users is not idle");
    ++idle;
    idleBlocks += static_cast<std::int64_t>(entry->table.blocks().size());
  }
  for (const auto& entry : forgotten_) {
    require(entry->users > 0 && entry->isForgotten, "a forgotten source has no user");
  }
  require(idle == idle_.size() && idleBlocks == idleBlocks_, "the count of idle sources is wrong");
}

}  // namespace wgqa
