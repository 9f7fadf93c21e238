#include "base/parallel.h"

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <iterator>
#include <latch>
#include <limits>
#include <optional>
#include <system_error>
#include <thread>
#include <vector>

#include "base/worker_pool.h"

namespace wgqa {
namespace {

// Keeps the first exception of a parallel region: one must not leave an OpenMP region.
class FirstException {
 public:
  template <typename Body>
  void guard(const Body& body) noexcept {
    try {
      body();
    } catch (...) {
      if (!taken_.exchange(true)) exception_ = std::current_exception();
    }
  }
  void rethrow() const {
    if (exception_) std::rethrow_exception(exception_);
  }

 private:
  std::atomic<bool> taken_ = false;
  std::exception_ptr exception_;
};

thread_local int threadLimit = 0;

// Loops within a loop's body run inline.
thread_local bool isInLoop = false;

class LoopScope {
 public:
  LoopScope() { isInLoop = true; }
  ~LoopScope() { isInLoop = wasInLoop_; }
  LoopScope(const LoopScope&) = delete;
  LoopScope& operator=(const LoopScope&) = delete;

 private:
  bool wasInLoop_ = isInLoop;
};

// Indices [first, last) that are taken one by one, from both ends; a cache line of its own.
class alignas(64) Stretch {
 public:
  void set(std::int64_t first, std::int64_t last) { state_ = pack(first, last); }
  std::optional<std::int64_t> takeFirst() {
    return take([](std::int64_t& first, std::int64_t&) { return first++; });
  }
  std::optional<std::int64_t> takeLast() {
    return take([](std::int64_t&, std::int64_t& last) { return --last; });
  }

 private:
  static std::uint64_t pack(std::int64_t first, std::int64_t last) {
    return static_cast<std::uint64_t>(first) << 32 | static_cast<std::uint64_t>(last);
  }

  template <typename Choose>
  std::optional<std::int64_t> take(const Choose& choose) {
    std::uint64_t state = state_.load(std::memory_order_relaxed);
    for (;;) {
      auto first = static_cast<std::int64_t>(state >> 32);
      auto last = static_cast<std::int64_t>(state & 0xffffffffu);
      if (first == last) return std::nullopt;
      const std::int64_t taken = choose(first, last);
      if (state_.compare_exchange_weak(state, pack(first, last), std::memory_order_relaxed)) {
        return taken;
      }
    }
  }

  std::atomic<std::uint64_t> state_ = 0;
};

// Calls body(slot) for each slot, on as many threads; the first exception is rethrown.
template <typename Body>
void runSlots(int slots, const Body& body) {
  FirstException first;
  WorkerPool::instance().run(slots, [&](int slot) {
    const LoopScope scope;
    first.guard([&] { body(slot); });
  });
  first.rethrow();
}

// So many threads at once, made and ended: whether the system has them.
bool canMakeThreads(int count) {
  std::latch counted(1);
  std::vector<std::thread> threads;
  threads.reserve(static_cast<std::size_t>(count));
  bool hasAll = true;
  try {
    while (std::ssize(threads) < count) threads.emplace_back([&counted] { counted.wait(); });
  } catch (const std::system_error&) {
    hasAll = false;
  }
  counted.count_down();
  for (std::thread& thread : threads) thread.join();
  return hasAll;
}

// OpenMP's runtime ends the process where it cannot make a thread, so it is tried out before, once
// in this time.
constexpr std::chrono::seconds kTrialInterval{1};

void limitLibraryThreads() {
  using Clock = std::chrono::steady_clock;
  thread_local Clock::time_point triedAt = Clock::time_point::min();
  const Clock::time_point now = Clock::now();
  if (triedAt != Clock::time_point::min() && now - triedAt < kTrialInterval) return;
  triedAt = now;
  const int threads = threadCount();
  omp_set_num_threads(canMakeThreads(threads - 1) ? threads : 1);
}

}  // namespace

int threadCount() {
  if (isInLoop) return 1;
  return threadLimit > 0 ? threadLimit : omp_get_num_procs();
}

void setThreadCount(int threads) {
  threadLimit = std::clamp(threads, 0, WorkerPool::kMaxWorkers + 1);
  omp_set_num_threads(threadCount());
}

void restWorkers() {
  WorkerPool::instance().rest();
  limitLibraryThreads();
}

void parallelFor(std::int64_t count, std::int64_t grain,
                 const std::function<void(std::int64_t, std::int64_t, int)>& body) {
  if (count <= 0) return;
  const std::int64_t useful =
      (count + std::max<std::int64_t>(grain, 1) - 1) / std::max<std::int64_t>(grain, 1);
  const int threads = static_cast<int>(std::min<std::int64_t>(threadCount(), useful));
  if (threads <= 1) return body(0, count, 0);
  runSlots(threads,
           [&](int slot) { body(count * slot / threads, count * (slot + 1) / threads, slot); });
}

void parallelRanges(std::int64_t count, std::int64_t piece,
                    const std::function<void(std::int64_t, std::int64_t, int)>& body) {
  if (count <= 0) return;
  // Both ends of a stretch fit in one word.
  constexpr std::int64_t kMostPieces = std::numeric_limits<std::uint32_t>::max();
  piece = std::max<std::int64_t>({piece, count / kMostPieces + 1, 1});
  const std::int64_t pieces = (count + piece - 1) / piece;
  const int threads = static_cast<int>(std::min<std::int64_t>(threadCount(), pieces));
  if (threads <= 1) return body(0, count, 0);
  std::vector<Stretch> stretches(static_cast<std::size_t>(threads));
  for (int slot = 0; slot < threads; ++slot) {
    stretches[slot].set(pieces * slot / threads, pieces * (slot + 1) / threads);
  }
  const auto run = [&](std::int64_t index, int slot) {
    body(index * piece, std::min(count, (index + 1) * piece), slot);
  };
  runSlots(threads, [&](int slot) {
    while (const auto index = stretches[slot].takeFirst()) run(*index, slot);
    for (int other = 1; other < threads; ++other) {
      Stretch& theirs = stretches[(slot + other) % threads];
      while (const auto index = theirs.takeLast()) run(*index, slot);
    }
  });
}

void parallelTasks(std::int64_t count, const std::function<void(std::int64_t, int)>& body) {
  if (count <= 0) return;
  const int threads = static_cast<int>(std::min<std::int64_t>(threadCount(), count));
  std::atomic<std::int64_t> next = 0;
  const auto work = [&](int slot) {
    for (std::int64_t index = next++; index < count; index = next++) body(index, slot);
  };
  if (threads <= 1) return work(0);
  runSlots(threads, work);
}

}  // namespace wgqa
