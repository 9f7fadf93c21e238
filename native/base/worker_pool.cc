#include "base/worker_pool.h"

#include <omp.h>

#include <algorithm>
#include <system_error>
#include <thread>

namespace wgqa {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

// The gaps between the parallel loops of a decoding step are shorter than this.
constexpr microseconds kWatch{100};

// Longer between two looks: the thread did not run in between.
constexpr microseconds kLostProcessor{500};

// As long does a worker sleep at once that lost its processor while it watched.
constexpr milliseconds kBusyMachine{50};

inline void pauseBriefly() {
  for (int i = 0; i < 16; ++i) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
  }
}

// What the lock guards takes less time than to sleep for it and be woken.
std::unique_lock<std::mutex> lockSoon(std::mutex& mutex) {
  std::unique_lock lock(mutex, std::try_to_lock);
  for (int i = 0; i < 100 && !lock.owns_lock(); ++i) {
    pauseBriefly();
    (void)lock.try_lock();
  }
  if (!lock.owns_lock()) lock.lock();
  return lock;
}

}  // namespace

WorkerPool& WorkerPool::instance() {
  // Never destroyed: its workers run until the process ends.
  static WorkerPool* const pool = new WorkerPool();
  return *pool;
}

void WorkerPool::run(int slots, const std::function<void(int)>& body) {
  Job job{.body = body, .slots = slots};
  publish(job);
  body(0);
  while (const auto slot = takeSlot(job)) body(*slot);
  await(job);
}

/// All slots but the first, which is the caller's.
void WorkerPool::publish(Job& job) {
  job.nextSlot = 1;
  if (job.slots == 1) return;
  int wake = 0;
  {
    const auto lock = lockSoon(mutex_);
    addWorkers(job.slots - 1);
    open_.push_back(&job);
    wake = std::min(job.slots - 1, sleeping_);
  }
  isResting_.store(false, std::memory_order_relaxed);
  // Not under the lock, which those who watch take next.
  openJobs_.fetch_add(1, std::memory_order_release);
  for (; wake > 0; --wake) begun_.notify_one();
}

std::optional<int> WorkerPool::takeSlot(Job& job) {
  const auto lock = lockSoon(mutex_);
  if (job.nextSlot == job.slots) return std::nullopt;
  return claim(job);
}

void WorkerPool::rest() { isResting_.store(true, std::memory_order_relaxed); }

/// Fewer are made where the system has no more threads: callers do what is left.
void WorkerPool::addWorkers(int wanted) {
  while (workers_ < std::min(wanted, kMaxWorkers)) {
    try {
      std::thread([this] { work(); }).detach();
    } catch (const std::system_error&) {
      return;
    }
    ++workers_;
  }
}

void WorkerPool::work() {
  // What a library starts from here is this thread's alone.
  omp_set_num_threads(1);
  Clock::time_point sleepUntil{};
  for (;;) {
    watch(sleepUntil);
    std::unique_lock lock = lockSoon(mutex_);
    while (open_.empty()) {
      ++sleeping_;
      begun_.wait(lock);
      --sleeping_;
    }
    Job& job = *open_.front();
    const int slot = claim(job);
    job.running.fetch_add(1, std::memory_order_relaxed);
    lock.unlock();
    job.body(slot);
    finish(job);
  }
}

void WorkerPool::watch(Clock::time_point& sleepUntil) const {
  const Clock::time_point begin = Clock::now();
  if (begin < sleepUntil) return;
  for (Clock::time_point last = begin; last - begin < kWatch;) {
    if (openJobs_.load(std::memory_order_acquire) > 0) return;
    if (isResting_.load(std::memory_order_relaxed)) return;
    pauseBriefly();
    const Clock::time_point now = Clock::now();
    if (now - last > kLostProcessor) sleepUntil = now + kBusyMachine;
    last = now;
  }
}

/// Under the lock, of a job with slots left.
int WorkerPool::claim(Job& job) {
  const int slot = job.nextSlot++;
  if (job.nextSlot == job.slots) {
    std::erase(open_, &job);
    openJobs_.fetch_sub(1, std::memory_order_release);
  }
  return slot;
}

void WorkerPool::finish(Job& job) {
  bool isLastAwaited = false;
  {
    const auto lock = lockSoon(mutex_);
    const int running = job.running.load(std::memory_order_relaxed) - 1;
    isLastAwaited = running == 0 && job.isAwaited;
    // The caller may see this at once and destroy the job.
    job.running.store(running, std::memory_order_release);
  }
  if (isLastAwaited) finished_.notify_all();
}

void WorkerPool::await(Job& job) {
  const auto isDone = [&job] { return job.running.load(std::memory_order_acquire) == 0; };
  for (const Clock::time_point begin = Clock::now(); Clock::now() - begin < kWatch;) {
    if (isDone()) return;
    pauseBriefly();
  }
  std::unique_lock lock(mutex_);
  job.isAwaited = true;
  finished_.wait(lock, isDone);
}

}  // namespace wgqa
