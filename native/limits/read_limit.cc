#include "limits/read_limit.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>

#include "base/parallel.h"
#include "isa/instruction_set.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "limits/read_limit.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace wgqa::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Several sums at once, so that no load waits for an addition.
std::uint64_t sumOf(const std::uint64_t* words, std::int64_t count) {
  const hn::ScalableTag<std::uint64_t> d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  auto sum0 = hn::Zero(d);
  auto sum1 = hn::Zero(d);
  auto sum2 = hn::Zero(d);
  auto sum3 = hn::Zero(d);
  std::int64_t i = 0;
  for (; i + 4 * lanes <= count; i += 4 * lanes) {
    sum0 = hn::Add(sum0, hn::LoadU(d, words + i));
    sum1 = hn::Add(sum1, hn::LoadU(d, words + i + lanes));
    sum2 = hn::Add(sum2, hn::LoadU(d, words + i + 2 * lanes));
    sum3 = hn::Add(sum3, hn::LoadU(d, words + i + 3 * lanes));
  }
  const auto sum = hn::Add(hn::Add(sum0, sum1), hn::Add(sum2, sum3));
  std::uint64_t total = hn::GetLane(hn::SumOfLanes(d, sum));
  for (; i < count; ++i) total += words[i];
  return total;
}

}  // namespace wgqa::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wgqa {
namespace {

HWY_EXPORT(sumOf);

// Written by every run, so that no compiler leaves the reading out.
std::atomic<std::uint64_t> lastSum = 0;

}  // namespace

void ReadLimit::run() {
  instructionSet();  // limits Highway's dispatch, too
  const auto* words = array_.as<std::uint64_t>();
  std::atomic<std::uint64_t> sum = 0;
  parallelFor(bytes() / 8, 1 << 13, [&](std::int64_t begin, std::int64_t end, int) {
    sum += HWY_DYNAMIC_DISPATCH(sumOf)(words + begin, end - begin);
  });
  lastSum = sum.load();
}

std::int64_t lastLevelCacheBytes() {
#ifdef _SC_LEVEL3_CACHE_SIZE
  return std::max<std::int64_t>(sysconf(_SC_LEVEL3_CACHE_SIZE), 0);
#else
  return 0;
#endif
}

}  // namespace wgqa
#endif
