// Data parallelism for all native code. It runs on OpenMP's team, the one oneDNN uses too:
// a second pool would fight with OpenMP's spinning workers for the same cores.
#pragma once

#include <cstdint>
#include <functional>

namespace wgqa {

/// Threads a parallel region started by the calling thread uses (at least 1).
int threadCount();

/// Sets it for parallel regions started by the calling thread; 0 restores the default.
void setThreadCount(int threads);

/// Calls body(begin, end, thread) on disjoint ranges that cover [0, count); `thread` counts from 0
/// and is below threadCount(). Ranges are contiguous and depend only on `count`, `grain` and the
/// number of threads. Runs inline when count <= grain. The first exception is rethrown.
void parallelFor(std::int64_t count, std::int64_t grain,
                 const std::function<void(std::int64_t, std::int64_t, int)>& body);

/// Calls body(index, thread) for each index of [0, count), handed out one by one: for tasks of
/// unequal cost. The first exception is rethrown.
void parallelTasks(std::int64_t count, const std::function<void(std::int64_t, int)>& body);

}  // namespace wgqa
