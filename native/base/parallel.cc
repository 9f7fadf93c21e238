#include "base/parallel.h"

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <thread>
#include <vector>

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

#if defined(__SANITIZE_THREAD__)

// Thread sanitizer does not see OpenMP's fork and join: threads of our own stand in for its team.
template <typename Body>
void runTeam(int threads, const Body& body) {
  std::vector<std::jthread> others;
  for (int thread = 1; thread < threads; ++thread) {
    others.emplace_back([&body, thread, threads] { body(thread, threads); });
  }
  body(0, threads);
}

#else

// Calls body(thread, team): `team` may be smaller than `threads`.
template <typename Body>
void runTeam(int threads, const Body& body) {
#pragma omp parallel num_threads(threads)
  body(omp_get_thread_num(), omp_get_num_threads());
}

#endif

}  // namespace

int threadCount() { return threadLimit > 0 ? threadLimit : omp_get_max_threads(); }

void setThreadCount(int threads) {
  threadLimit = std::max(threads, 0);
  omp_set_num_threads(threads > 0 ? threads : omp_get_num_procs());
}

void parallelFor(std::int64_t count, std::int64_t grain,
                 const std::function<void(std::int64_t, std::int64_t, int)>& body) {
  if (count <= 0) return;
  const std::int64_t useful =
      (count + std::max<std::int64_t>(grain, 1) - 1) / std::max<std::int64_t>(grain, 1);
  const int threads = static_cast<int>(std::min<std::int64_t>(threadCount(), useful));
  if (threads <= 1) return body(0, count, 0);
  FirstException first;
  runTeam(threads, [&](int thread, int team) {
    first.guard([&] {
      const std::int64_t begin = count * thread / team;
      const std::int64_t end = count * (thread + 1) / team;
      if (begin < end) body(begin, end, thread);
    });
  });
  first.rethrow();
}

void parallelTasks(std::int64_t count, const std::function<void(std::int64_t, int)>& body) {
  if (count <= 0) return;
  const int threads = static_cast<int>(std::min<std::int64_t>(threadCount(), count));
  std::atomic<std::int64_t> next = 0;
  FirstException first;
  const auto work = [&](int thread, int /*team*/) {
    first.guard([&] {
      for (std::int64_t index = next++; index < count; index = next++) body(index, thread);
    });
  };
  if (threads <= 1) {
    work(0, 1);
  } else {
    runTeam(threads, work);
  }
  first.rethrow();
}

}  // namespace wgqa
