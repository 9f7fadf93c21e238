// Data parallelism for all native code, on the threads of base/worker_pool.h.
#pragma once

#include <cstdint>
#include <functional>

namespace wgqa {

/// Threads that a parallel loop started by the calling thread may use: 1 within a loop's body.
int threadCount();

/// Sets it for loops started by the calling thread, and for oneDNN's own; 0 restores the default,
/// the processors that the process may use.
void setThreadCount(int threads);

/// Before a library's work on OpenMP's threads: lets the threads of finished loops sleep, and keeps
/// the library to the calling thread while the system has no threads to spare.
void restWorkers();

/// Calls body(begin, end, thread) on disjoint ranges that cover [0, count); `thread` counts from 0
/// and is below threadCount(). Ranges are contiguous and depend only on `count`, `grain` and the
/// number of threads. Runs inline when count <= grain. The first exception is rethrown.
void parallelFor(std::int64_t count, std::int64_t grain,
                 const std::function<void(std::int64_t, std::int64_t, int)>& body);

/// Calls body(begin, end, thread) on disjoint ranges of at most `piece` indices that cover
/// [0, count). Each thread goes through a stretch of its own from its start, and then takes pieces
/// off the ends of the others' stretches: for loops that read memory in order, which is served
/// unevenly. The first exception is rethrown.
void parallelRanges(std::int64_t count, std::int64_t piece,
                    const std::function<void(std::int64_t, std::int64_t, int)>& body);

/// Calls body(index, thread) for each index of [0, count), handed out one by one: for tasks of
/// unequal cost. The first exception is rethrown.
void parallelTasks(std::int64_t count, const std::function<void(std::int64_t, int)>& body);

}  // namespace wgqa
