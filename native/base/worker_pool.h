// The threads that parallel loops share, whoever starts them: all engines, trainers and calls of a
// process. A loop is done by its caller and by the workers that are free just then; it never waits
// for one that has not begun, so a busy machine or another engine costs help and no time.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>

namespace wgqa {

/// Workers are made as they are first needed, never more than kMaxWorkers, and live as long as the
/// process. For a short while after a loop they watch for the next one, since waking a thread takes
/// longer than most loops of a decoding step; then they sleep. A worker that lost its processor
/// while it watched sleeps at once for a time: somebody else needs the processor.
class WorkerPool {
 public:
  static constexpr int kMaxWorkers = 1023;

  static WorkerPool& instance();

  /// Calls body(slot) once for each slot of [0, slots), several at a time, and returns when all
  /// have returned. `body` must not throw. Callable from any thread but from within a body.
  void run(int slots, const std::function<void(int)>& body);

  /// Idle workers sleep from now on until the next run(): before work on threads of other
  /// libraries.
  void rest();

 private:
  using Clock = std::chrono::steady_clock;

  /// A loop under way; lives on the stack of its caller.
  struct Job {
    const std::function<void(int)>& body;
    int slots;
    int nextSlot = 0;              // the first that nobody has taken; guarded by mutex_
    std::atomic<int> running = 0;  // slots begun by workers and not done; written under mutex_
    bool isAwaited = false;        // its caller sleeps; guarded by mutex_
  };

  WorkerPool() = default;

  void publish(Job& job);
  void addWorkers(int wanted);
  void work();
  /// Returns once there may be a job, or when it is time to sleep.
  void watch(Clock::time_point& sleepUntil) const;
  int claim(Job& job);
  std::optional<int> takeSlot(Job& job);
  void finish(Job& job);
  void await(Job& job);

  std::mutex mutex_;
  std::condition_variable begun_;     // a job came: for workers
  std::condition_variable finished_;  // an awaited job's last slot was done: for callers
  std::deque<Job*> open_;             // jobs with slots that nobody has taken; guarded by mutex_
  std::atomic<int> openJobs_ = 0;     // open_.size(), soon: for those who watch
  std::atomic<bool> isResting_ = false;
  int workers_ = 0;   // guarded by mutex_
  int sleeping_ = 0;  // guarded by mutex_
};

}  // namespace wgqa
