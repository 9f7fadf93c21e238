// One thread that runs tasks in the order they were posted: all native work on a model goes through
// the model's executor, so no two tasks touch a model at once and the event loop never waits.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace wgqa {

class Executor {
 public:
  /// `threads`: threads of parallel regions started by the tasks, 0 for the default.
  explicit Executor(int threads);
  /// Runs what is queued, then joins.
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  /// Tasks must not throw. After stop() a task is dropped and the result is false.
  bool post(std::function<void()> task);
  /// Runs what is queued, then joins. Idempotent; not to be called from a task.
  void stop();

 private:
  void loop(int threads);

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> tasks_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace wgqa
