#include "decode/engine_stats.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace wgqa {

void RecentValues::add(double value) {
  if (values_.size() < kCapacity) {
    values_.push_back(value);
  } else {
    values_[next_] = value;
  }
  next_ = (next_ + 1) % kCapacity;
}

double RecentValues::sum() const { return std::accumulate(values_.begin(), values_.end(), 0.0); }

Percentiles RecentValues::percentiles() const {
  if (values_.empty()) return {};
  std::vector<double> sorted = values_;
  std::sort(sorted.begin(), sorted.end());
  // The least value that so many of all do not exceed.
  const auto at = [&](double fraction) {
    const double rank = std::ceil(fraction * static_cast<double>(sorted.size()));
    return sorted[static_cast<std::size_t>(std::max(rank, 1.0)) - 1];
  };
  return {.p50 = at(0.5), .p90 = at(0.9), .p99 = at(0.99), .max = sorted.back()};
}

void StatsRecorder::publish(const EngineStats& stats) {
  const std::lock_guard lock(mutex_);
  stats_ = stats;
}

void StatsRecorder::stepTook(double milliseconds, std::int64_t tokens) {
  const std::lock_guard lock(mutex_);
  stepMilliseconds_.add(milliseconds);
  stepTokens_.add(static_cast<double>(tokens));
}

void StatsRecorder::firstTokenTook(double milliseconds) {
  const std::lock_guard lock(mutex_);
  firstTokenMilliseconds_.add(milliseconds);
}

EngineStats StatsRecorder::snapshot() const {
  EngineStats stats;
  RecentValues steps;
  RecentValues tokens;
  RecentValues firstTokens;
  {
    const std::lock_guard lock(mutex_);
    stats = stats_;
    steps = stepMilliseconds_;
    tokens = stepTokens_;
    firstTokens = firstTokenMilliseconds_;
  }
  const double seconds = steps.sum() / 1000.0;
  if (seconds > 0.0) stats.tokensPerSecond = tokens.sum() / seconds;
  stats.stepMilliseconds = steps.percentiles();
  stats.firstTokenMilliseconds = firstTokens.percentiles();
  return stats;
}

}  // namespace wgqa
