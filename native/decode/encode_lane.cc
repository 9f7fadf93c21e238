#include "decode/encode_lane.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace wgqa {
namespace {

constexpr std::int64_t kMaxTokens = 16384;  // of sources under way, unless one alone is longer
// The shortest encoding goes first, but every so many slices the oldest does: it ends in the end.
constexpr std::int64_t kOldestEvery = 4;
// A slice is longer by this part of it if that ends an encoding: what is left would cost a slice.
constexpr std::int64_t kStretch = 4;
// Slices done as one, at most, while many sources wait.
constexpr std::int64_t kMostSlices = 4;

std::int64_t tokensOf(const CachedSource& source) {
  return static_cast<std::int64_t>(source.ids.size());
}

}  // namespace

bool EncodeLane::hasRoom(std::int64_t tokens) const {
  return jobs_.empty() || tokens_ + tokens <= kMaxTokens;
}

void EncodeLane::add(SourceUse source) {
  Job& job = *jobs_.emplace_back(std::make_unique<Job>());
  job.tokens = tokensOf(*source);
  job.wanted.push_back(&*source);
  job.sources.push_back(std::move(source));
  tokens_ += job.tokens;
}

EncodeLane::Job* EncodeLane::jobOf(const CachedSource& source) const {
  for (const auto& job : jobs_) {
    for (const SourceUse& use : job->sources) {
      if (&*use == &source) return job.get();
    }
  }
  return nullptr;
}

void EncodeLane::want(const CachedSource& source) {
  Job* job = jobOf(source);
  require(job != nullptr, "a source is not ready and nobody encodes it");
  if (std::find(job->wanted.begin(), job->wanted.end(), &source) == job->wanted.end()) {
    job->wanted.push_back(&source);
  }
}

void EncodeLane::forget(const CachedSource& source) {
  Job* job = jobOf(source);
  if (job == nullptr) return;
  std::erase(job->wanted, &source);
  if (job->wanted.empty()) take(*job);
}

std::optional<EncodeLane::Failure> EncodeLane::advance(std::int64_t running) {
  const std::int64_t slice = sliceFor(running);
  bool oldest = ++slices_ % kOldestEvery == 0;
  for (std::int64_t left = slice; left > 0 && !jobs_.empty();) {
    Job& job = choose(oldest);
    // Another encoding joins the slice only if the rest of the slice ends it.
    if (left < slice && job.workLeft() > left) break;
    try {
      cache_.prepareMemory();  // of sources that were admitted, also since this one began
      left -= advance(job, left);
    } catch (...) {
      return Failure{std::move(take(job)->sources), currentError()};
    }
    if (job.workLeft() == 0) finish(job);
    oldest = false;
  }
  return std::nullopt;
}

/// While more wait than run, theirs is the time that counts.
std::int64_t EncodeLane::sliceFor(std::int64_t running) const {
  const std::int64_t waiting = std::ssize(jobs_);
  return sliceTokens_ * std::clamp<std::int64_t>(waiting / (running + 1), 1, kMostSlices);
}

EncodeLane::Job& EncodeLane::choose(bool oldest) {
  if (oldest) return *jobs_.front();
  return **std::min_element(jobs_.begin(), jobs_.end(), [](const auto& a, const auto& b) {
    return a->workLeft() < b->workLeft();
  });
}

std::int64_t EncodeLane::advance(Job& job, std::int64_t left) {
  if (!job.encoding) start(job, left);
  const std::int64_t before = job.encoding->workLeft();
  const bool ends = before <= left + left / kStretch;
  job.encoding->advance(ends ? before : std::min(left, sliceTokens_));
  return before - job.encoding->workLeft();
}

/// Other sources that wait and fit into the same slice are encoded with it: products of few rows
/// cost nearly as much as those of some more.
void EncodeLane::joinWaiting(Job& job, std::int64_t left) {
  for (std::size_t i = 0; i < jobs_.size();) {
    Job& other = *jobs_[i];
    if (&other == &job || other.encoding || job.tokens + other.tokens > left) {
      ++i;
      continue;
    }
    job.tokens += other.tokens;
    std::move(other.sources.begin(), other.sources.end(), std::back_inserter(job.sources));
    job.wanted.insert(job.wanted.end(), other.wanted.begin(), other.wanted.end());
    jobs_.erase(jobs_.begin() + static_cast<std::ptrdiff_t>(i));
  }
}

void EncodeLane::start(Job& job, std::int64_t left) {
  joinWaiting(job, left);
  const std::int64_t blockTokens = cache_.cross().blockTokens();
  SourceBatch batch;
  batch.offsets.push_back(0);
  for (const SourceUse& source : job.sources) {
    batch.ids.insert(batch.ids.end(), source->ids.begin(), source->ids.end());
    batch.offsets.push_back(static_cast<std::int32_t>(batch.ids.size()));
    const auto blocks = source->table.blocks();
    for (std::int64_t i = 0; i < tokensOf(*source); ++i) {
      const std::int32_t block = blocks[static_cast<std::size_t>(i / blockTokens)];
      batch.slots.push_back(block * blockTokens + i % blockTokens);
    }
  }
  batch.cache = cache_.cross().layers();
  job.encoding = model_.startEncoding(std::move(batch));
}

void EncodeLane::finish(Job& job) {
  encodedTokens_ += job.tokens;
  for (const SourceUse& source : job.sources) source->isReady = true;
  take(job);
}

std::unique_ptr<EncodeLane::Job> EncodeLane::take(const Job& job) {
  const auto place = std::find_if(jobs_.begin(), jobs_.end(),
                                  [&](const auto& other) { return other.get() == &job; });
  std::unique_ptr<Job> taken = std::move(*place);
  jobs_.erase(place);
  tokens_ -= taken->tokens;
  return taken;
}

}  // namespace wgqa
