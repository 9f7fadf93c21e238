// Steps collected and replayed: the same results as without, whatever the tables hold.
#include <cstdint>
#include <numeric>
#include <span>
#include <vector>

#include "ops/cuda/emulation/emulated_driver.h"
#include "ops/cuda/session.h"
#include "test/harness.h"

namespace wgqa::cuda {
namespace {

using namespace wgqa::test;

Device& device() {
  static Device& instance = *new Device(emulatedDriver(), 0);
  return instance;
}

std::vector<std::int32_t> counting(std::size_t count, std::int32_t first) {
  std::vector<std::int32_t> values(count);
  std::iota(values.begin(), values.end(), first);
  return values;
}

// A step that copies tables to `out`, one behind the other: what it did shows there.
class CopyStep {
 public:
  explicit CopyStep(Session& session)
      : session_(session), out_(device(), kMost * sizeof(std::int32_t)) {}

  std::vector<std::int32_t> run(const std::vector<std::vector<std::int32_t>>& tables) {
    session_.beginStep();
    std::size_t end = 0;
    for (const auto& values : tables) {
      session_.beginOperation();
      const std::int32_t* table = session_.table(std::span<const std::int32_t>(values));
      session_.stream().copyOnDevice(out_.as<std::int32_t>() + end, table,
                                     values.size() * sizeof(std::int32_t));
      end += values.size();
    }
    session_.endStep();
    std::vector<std::int32_t> result(end);
    session_.stream().copyToHost(result.data(), out_.as<void>(), end * sizeof(std::int32_t));
    return result;
  }

  static std::vector<std::int32_t> expected(const std::vector<std::vector<std::int32_t>>& tables) {
    std::vector<std::int32_t> all;
    for (const auto& values : tables) all.insert(all.end(), values.begin(), values.end());
    return all;
  }

 private:
  static constexpr std::size_t kMost = 1 << 22;
  Session& session_;
  Buffer out_;
};

WGQA_TEST(stepsOfOtherTablesAreReplayed) {
  Session session(device());
  CopyStep step(session);
  for (std::int32_t i = 0; i < 6; ++i) {
    const std::vector<std::vector<std::int32_t>> tables = {counting(5, i), counting(70, 10 * i)};
    CHECK(step.run(tables) == CopyStep::expected(tables));
  }
  CHECK_EQUAL(session.stepCounts().launched, 1);
  CHECK_EQUAL(session.stepCounts().recorded, 1);
  CHECK_EQUAL(session.stepCounts().replayed, 5);
}

WGQA_TEST(stepsOfOtherSizesAreNotMixedUp) {
  Session session(device());
  CopyStep step(session);
  for (std::int32_t i = 0; i < 12; ++i) {
    const std::vector<std::vector<std::int32_t>> tables = {
        counting(static_cast<std::size_t>(1 + i % 3), i), counting(9, 100 + i)};
    CHECK(step.run(tables) == CopyStep::expected(tables));
  }
  CHECK_EQUAL(session.stepCounts().launched, 3);
  CHECK_EQUAL(session.stepCounts().recorded, 3);
}

WGQA_TEST(stepsOfManyTablesRunInParts) {
  Session session(device());
  CopyStep step(session);
  for (int i = 0; i < 3; ++i) {
    const std::vector<std::vector<std::int32_t>> tables = {
        counting(700'000, i), counting(600'000, 1 + i), counting(5, 2 + i)};
    CHECK(step.run(tables) == CopyStep::expected(tables));
  }
}

WGQA_TEST(anOperationMayAskForMoreTablesThanThereIsRoomFor) {
  Session session(device());
  Buffer out(device(), 1 << 23);
  const auto first = counting(600'000, 1);
  const auto second = counting(700'000, 2);
  session.beginStep();
  const std::int32_t* firstTable = session.table(std::span<const std::int32_t>(first));
  const std::int32_t* secondTable = session.table(std::span<const std::int32_t>(second));
  session.stream().copyOnDevice(out.as<void>(), firstTable, 2'400'000);
  session.stream().copyOnDevice(out.as<std::byte>() + 2'400'000, secondTable, 2'800'000);
  session.endStep();
  std::vector<std::int32_t> result(1'300'000);
  session.stream().copyToHost(result.data(), out.as<void>(), 5'200'000);
  CHECK(result == CopyStep::expected({first, second}));
}

WGQA_TEST(stepsThatFailLeaveNothingBehind) {
  Session session(device());
  CopyStep step(session);
  session.beginStep();
  const auto values = counting(4, 0);
  CHECK(session.table(std::span<const std::int32_t>(values)) != nullptr);
  std::int32_t host = 0;
  CHECK_THROWS(ErrorCode::internal, session.stream().copyToHost(&host, nullptr, sizeof(host)));
  session.abandonStep();
  CHECK(step.run({values}) == values);
}

WGQA_TEST(tablesOutsideOfStepsMayBeOfAnySize) {
  Session session(device());
  Buffer out(device(), 1 << 23);
  for (std::int32_t i = 0; i < 200; ++i) {
    session.beginOperation();
    const auto small = counting(100, i);
    const auto large = counting(i % 50 == 49 ? 1'500'000 : 10'000, i);
    const std::int32_t* smallTable = session.table(std::span<const std::int32_t>(small));
    const std::int32_t* largeTable = session.table(std::span<const std::int32_t>(large));
    session.stream().copyOnDevice(out.as<void>(), smallTable, 400);
    session.stream().copyOnDevice(out.as<std::byte>() + 400, largeTable, 4 * large.size());
    std::vector<std::int32_t> result(100 + large.size());
    session.stream().copyToHost(result.data(), out.as<void>(), 4 * result.size());
    CHECK(result == CopyStep::expected({small, large}));
  }
}

}  // namespace
}  // namespace wgqa::cuda
