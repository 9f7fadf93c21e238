#include "base/parallel.h"

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <exception>

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

}  // namespace

int threadCount() {
  if (isInLoop) return 1;
  return threadLimit > 0 ? threadLimit : omp_get_num_procs();
}

void setThreadCount(int threads) {
  threadLimit = std::clamp(threads, 0, WorkerPool::kMaxWorkers + 1);
  omp_set_num_threads(threadCount());
}

void restWorkers() { WorkerPool::instance().rest(); }

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
