// The readers-writer lock: readers together, writers alone, everyone in the order of coming.
#include <mutex>
#include <shared_mutex>
#include <thread>
#include <vector>

#include "base/fair_shared_mutex.h"
#include "test/harness.h"

namespace wgqa::test {
namespace {

void waitUntilInLine(const FairSharedMutex& mutex, std::uint64_t threads) {
  while (mutex.waiting() < threads) std::this_thread::yield();
}

WGQA_TEST(fairSharedMutexLetsReadersInTogether) {
  FairSharedMutex mutex;
  const std::shared_lock first(mutex);
  // Would never end if readers excluded each other.
  std::thread([&] { const std::shared_lock second(mutex); }).join();
  CHECK_EQUAL(mutex.waiting(), 0u);
}

WGQA_TEST(fairSharedMutexServesInTheOrderOfComing) {
  FairSharedMutex mutex;
  std::mutex orderMutex;
  std::vector<int> order;
  const auto note = [&](int who) {
    const std::lock_guard guard(orderMutex);
    order.push_back(who);
  };
  std::shared_lock holding(mutex);
  std::vector<std::thread> threads;
  const auto inLine = [&](auto body) {
    threads.emplace_back(body);
    waitUntilInLine(mutex, threads.size());
  };
  inLine([&] {
    const std::unique_lock lock(mutex);
    note(1);
  });
  // The lock is held by a reader, yet this reader may not overtake the writer.
  inLine([&] {
    const std::shared_lock lock(mutex);
    note(2);
  });
  // Nor may this writer overtake the reader once the first writer is through.
  inLine([&] {
    const std::unique_lock lock(mutex);
    note(3);
  });
  {
    const std::lock_guard guard(orderMutex);
    CHECK(order.empty());
  }
  holding.unlock();
  for (std::thread& thread : threads) thread.join();
  CHECK(order == (std::vector<int>{1, 2, 3}));
}

WGQA_TEST(fairSharedMutexKeepsWritersAlone) {
  FairSharedMutex mutex;
  constexpr int kTimes = 2000;
  std::int64_t first = 0, second = 0;  // equal whenever nobody writes
  std::thread writer([&] {
    for (int i = 0; i < kTimes; ++i) {
      const std::unique_lock lock(mutex);
      ++first;
      ++second;
    }
  });
  bool torn = false;
  for (int i = 0; i < kTimes; ++i) {
    const std::shared_lock lock(mutex);
    torn = torn || first != second;
  }
  writer.join();
  CHECK(!torn);
  CHECK_EQUAL(first, kTimes);
}

}  // namespace
}  // namespace wgqa::test
