#include "test/ops_table.h"

#include "base/parallel.h"
#include "test/harness.h"
#include "test/ops_backends.h"

namespace wgqa::test {
namespace {

constexpr std::uint64_t kTableSeed = 20240715;

// Restores the default number of threads when a case throws.
class ThreadCount {
 public:
  explicit ThreadCount(int threads) { setThreadCount(threads); }
  ~ThreadCount() { setThreadCount(0); }
  ThreadCount(const ThreadCount&) = delete;
  ThreadCount& operator=(const ThreadCount&) = delete;
};

void runWithThreads(const OpCase& testCase, Ops& ops, CaseTensors& tensors, int threads) {
  const ThreadCount count(threads);
  testCase.run(ops, tensors);
  tensors.collect();
}

void runCase(const OpRow& row, const OpCase& testCase, bool dependsOnThreads, Ops& ops,
             std::uint64_t seed) {
  const int failuresBefore = failuresOfRunningTest();
  const auto truth = makeReferenceOps();
  CaseTensors expected(seed, *truth);
  testCase.run(*truth, expected);
  expected.checkDamage("reference");
  CaseTensors oneThread(seed, ops);
  runWithThreads(testCase, ops, oneThread, 1);
  oneThread.checkDamage(std::string(ops.name()));
  oneThread.checkAgainst(expected, testCase.slack, testCase.magnitude);
  if (dependsOnThreads) {
    CaseTensors twoThreads(seed, ops);
    runWithThreads(testCase, ops, twoThreads, 2);
    twoThreads.checkDamage(std::string(ops.name()) + ", 2 threads");
    twoThreads.checkAgainst(expected, testCase.slack, testCase.magnitude);
    if (row.sameBitsForAnyThreads) oneThread.checkSameBits(twoThreads);
  }
  if (failuresOfRunningTest() > failuresBefore) {
    note("in " + row.op + ": " + testCase.name + ", seed " + std::to_string(seed));
  }
}

bool accepts(const Ops& ops, const OpRow& row, const OpCase& testCase) {
  const auto reason = ops.whyUnsupported(testCase.needs);
  if (reason) note("declined " + row.op + ": " + testCase.name + ": " + *reason);
  return !reason;
}

void runTable(const OpRow& row, const Backend& backend) {
  const auto setting = backend.enter();
  const auto ops = backend.make();
  for (const OpCase& testCase : row.cases) {
    if (!accepts(*ops, row, testCase)) continue;
    runCase(row, testCase, backend.dependsOnThreads, *ops, kTableSeed);
  }
}

void runRandom(const OpRow& row, const Backend& backend) {
  const auto setting = backend.enter();
  const auto ops = backend.make();
  for (std::uint64_t seed = 1; seed <= static_cast<std::uint64_t>(backend.randomCases); ++seed) {
    Random random(seed);
    const OpCase testCase = row.randomCase(random);
    if (!accepts(*ops, row, testCase)) continue;
    runCase(row, testCase, backend.dependsOnThreads, *ops, seed);
  }
}

bool addRows() {
  for (const auto& rows :
       {embeddingRows, normRows, denseRows, elementwiseRows, prefillRows, pagedRows, tokenRows,
        mergeRows, mergeConstraintRows, lossRows, optimiserRows}) {
    for (const OpRow& row : rows()) {
      for (const Backend& backend : backends()) {
        if (!row.op.starts_with(backend.onlyOps)) continue;
        const std::string name = "ops/" + backend.name + "/" + row.op;
        addTest(name, [row, backend] { runTable(row, backend); });
        if (backend.randomCases > 0) {
          addTest(name + "/random", [row, backend] { runRandom(row, backend); });
        }
      }
    }
  }
  return true;
}

[[maybe_unused]] const bool kRowsAdded = addRows();

}  // namespace
}  // namespace wgqa::test
