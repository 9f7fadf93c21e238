// The threads that parallel loops share.
#include <atomic>
#include <latch>
#include <thread>
#include <vector>

#include "base/parallel.h"
#include "base/worker_pool.h"
#include "test/harness.h"

namespace wgqa::test {

WGQA_TEST(workerPoolRunsEachSlotOnceForManyCallers) {
  std::atomic<int> wrong = 0;
  std::vector<std::jthread> callers;
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&wrong, caller] {
      for (int loop = 0; loop < 200; ++loop) {
        const int slots = 1 + (loop + caller) % 5;
        std::vector<std::atomic<int>> visits(slots);
        WorkerPool::instance().run(slots, [&](int slot) { ++visits[slot]; });
        for (const auto& visit : visits) wrong += visit.load() == 1 ? 0 : 1;
        if (loop % 50 == 0) WorkerPool::instance().rest();
      }
    });
  }
  callers.clear();
  CHECK_EQUAL(wrong.load(), 0);
}

// All workers that there are hang in one caller's loop until another caller's loop is done.
WGQA_TEST(workerPoolCallersDoNotWaitForBusyWorkers) {
  constexpr int kSlots = 3;
  std::latch begun(kSlots);
  std::latch otherIsDone(1);
  std::jthread holder([&] {
    WorkerPool::instance().run(kSlots, [&](int) {
      begun.count_down();
      otherIsDone.wait();
    });
  });
  begun.wait();
  std::atomic<int> done = 0;
  WorkerPool::instance().run(1 + kSlots / 2, [&](int) { ++done; });
  otherIsDone.count_down();
  CHECK_EQUAL(done.load(), 1 + kSlots / 2);
}

WGQA_TEST(workerPoolLoopsInsideLoopsRunInline) {
  setThreadCount(3);
  std::atomic<int> visits = 0;
  std::atomic<int> largestThread = 0;
  parallelFor(3, 1, [&](std::int64_t, std::int64_t, int) {
    if (threadCount() != 1) largestThread = threadCount();
    parallelTasks(4, [&](std::int64_t, int thread) {
      ++visits;
      if (thread > 0) largestThread = thread;
    });
  });
  setThreadCount(0);
  CHECK_EQUAL(visits.load(), 12);
  CHECK_EQUAL(largestThread.load(), 0);
}

}  // namespace wgqa::test
