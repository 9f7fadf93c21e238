// T5's relative position buckets against a second computation and values read off the public one.
#include <array>
#include <cmath>

#include "ops/ops.h"
#include "test/harness.h"

namespace wgqa::test {
namespace {

struct Setting {
  std::int32_t buckets;
  std::int32_t maxDistance;
};

// The distance at which logarithmic bucket `place` (0 counts first) begins, in exact arithmetic:
// the least d with d / exact >= (maxDistance / exact)^(place / places).
//
// The public code computes log(d / exact) / log(maxDistance / exact) * places in float32 and
// truncates. Where the true value is an integer, rounding decides: float32 gets the powers of two
// of the two settings of T5 right, so the exact edge is also the computed one.
std::int64_t firstDistance(std::int64_t place, std::int64_t places, std::int64_t exact,
                           std::int64_t maxDistance) {
  const auto reaches = [&](std::int64_t distance) {
    // (d / exact)^places >= (maxDistance / exact)^place, with 80-bit logarithms and a hair's slack.
    const long double left = places * std::log(static_cast<long double>(distance) / exact);
    const long double right = place * std::log(static_cast<long double>(maxDistance) / exact);
    return left >= right - 1e-12L;
  };
  std::int64_t distance = exact;
  while (!reaches(distance)) ++distance;
  return distance;
}

// Counts the bucket edges that lie at or before the distance: no logarithm of the distance itself.
std::int32_t countedBucket(std::int64_t distance, std::int64_t buckets, std::int64_t maxDistance) {
  const std::int64_t exact = buckets / 2;
  if (distance < exact) return static_cast<std::int32_t>(distance);
  std::int64_t bucket = exact;
  const std::int64_t places = buckets - exact;
  while (bucket + 1 < buckets &&
         distance >= firstDistance(bucket + 1 - exact, places, exact, maxDistance)) {
    ++bucket;
  }
  return static_cast<std::int32_t>(bucket);
}

constexpr std::array<Setting, 3> kSettings = {{{32, 128}, {8, 16}, {16, 64}}};

}  // namespace

// T5's own setting, as published: 16 exact buckets one way; then edges at 16 * 8^(i / 16).
WGQA_TEST(bucketsOfThePast) {
  const auto bucket = [](std::int64_t relative) {
    return relativeBucket(relative, false, 32, 128);
  };
  CHECK_EQUAL(bucket(0), 0);
  CHECK_EQUAL(bucket(-1), 1);
  CHECK_EQUAL(bucket(-15), 15);
  CHECK_EQUAL(bucket(-16), 16);
  CHECK_EQUAL(bucket(-18), 16);
  CHECK_EQUAL(bucket(-19), 17);  // 16 * 8^(1/16) = 18.2
  CHECK_EQUAL(bucket(-20), 17);
  CHECK_EQUAL(bucket(-21), 18);  // 20.7
  CHECK_EQUAL(bucket(-45), 23);
  CHECK_EQUAL(bucket(-46), 24);  // 45.3
  CHECK_EQUAL(bucket(-112), 30);
  CHECK_EQUAL(bucket(-113), 31);  // 112.4
  CHECK_EQUAL(bucket(-128), 31);
  CHECK_EQUAL(bucket(-1000000), 31);
  // The future is one bucket with the present.
  CHECK_EQUAL(bucket(1), 0);
  CHECK_EQUAL(bucket(500), 0);
}

// Both ways: 16 buckets each, 8 of them exact, edges at 8 * 16^(i / 8).
WGQA_TEST(bucketsBothWays) {
  const auto bucket = [](std::int64_t relative) { return relativeBucket(relative, true, 32, 128); };
  CHECK_EQUAL(bucket(0), 0);
  CHECK_EQUAL(bucket(-1), 1);
  CHECK_EQUAL(bucket(1), 17);
  CHECK_EQUAL(bucket(-7), 7);
  CHECK_EQUAL(bucket(-8), 8);
  CHECK_EQUAL(bucket(-11), 8);
  CHECK_EQUAL(bucket(-12), 9);  // 11.3
  CHECK_EQUAL(bucket(-15), 9);
  CHECK_EQUAL(bucket(-16), 10);  // 16: exactly on the edge
  CHECK_EQUAL(bucket(-31), 11);
  CHECK_EQUAL(bucket(-32), 12);  // 32: exactly on the edge
  CHECK_EQUAL(bucket(-63), 13);
  CHECK_EQUAL(bucket(-64), 14);  // 64: exactly on the edge
  CHECK_EQUAL(bucket(-90), 14);
  CHECK_EQUAL(bucket(-91), 15);  // 90.5
  CHECK_EQUAL(bucket(-128), 15);
  CHECK_EQUAL(bucket(64), 30);
  CHECK_EQUAL(bucket(100000), 31);
}

WGQA_TEST(bucketsAgreeWithCountedEdges) {
  for (const Setting& setting : kSettings) {
    const std::int64_t reach = 3 * setting.maxDistance;
    for (std::int64_t distance = 0; distance <= reach; ++distance) {
      const std::int32_t past = countedBucket(distance, setting.buckets, setting.maxDistance);
      CHECK_EQUAL(relativeBucket(-distance, false, setting.buckets, setting.maxDistance), past);
      const std::int32_t half = setting.buckets / 2;
      const std::int32_t oneSide = countedBucket(distance, half, setting.maxDistance);
      CHECK_EQUAL(relativeBucket(-distance, true, setting.buckets, setting.maxDistance), oneSide);
      CHECK_EQUAL(relativeBucket(distance, true, setting.buckets, setting.maxDistance),
                  distance == 0 ? 0 : half + oneSide);
    }
  }
}

WGQA_TEST(bucketsGrowWithDistance) {
  for (const Setting& setting : kSettings) {
    for (const bool bidirectional : {false, true}) {
      std::int32_t last = 0;
      for (std::int64_t distance = 0; distance < 100000; distance += 1 + distance / 50) {
        const std::int32_t bucket =
            relativeBucket(-distance, bidirectional, setting.buckets, setting.maxDistance);
        CHECK(bucket >= last);
        CHECK(bucket < (bidirectional ? setting.buckets / 2 : setting.buckets));
        last = bucket;
      }
      CHECK_EQUAL(last, (bidirectional ? setting.buckets / 2 : setting.buckets) - 1);
    }
  }
}

}  // namespace wgqa::test
