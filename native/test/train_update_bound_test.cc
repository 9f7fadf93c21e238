// Which updates are refused, and how often the values themselves are read for it.
#include "test/harness.h"
#include "train/update_bound.h"

namespace wgqa::test {
namespace {

constexpr double kLargest = kLargestFloat;

WGQA_TEST(updateBoundReadsValuesOnceWhileBoundsAreFarFromTheLimit) {
  int reads = 0;
  UpdateBound bound(
      [&reads] {
        ++reads;
        return UpdateBound::Norms{.parameters = 10.0, .moments = 1.0};
      },
      [](double moment, double) { return 1e9 * moment; });
  for (int step = 0; step < 100; ++step) CHECK(bound.allows({1e-3, 0.01, 2.0}));
  CHECK_EQUAL(reads, 1);
  bound.forget();
  CHECK(bound.allows({1e-3, 0.01, 2.0}));
  CHECK_EQUAL(reads, 2);
}

WGQA_TEST(updateBoundRefusesWhatCouldOverflow) {
  double parameters = 1.0;
  UpdateBound bound(
      [&] {
        return UpdateBound::Norms{parameters, 0.0};
      },
      [](double moment, double) { return moment; });
  CHECK(!bound.allows({kLargest, 0.0, 1.5}));  // the change
  CHECK(!bound.allows({0.0, 0.0, 1e20}));      // the square of the gradient
  CHECK(!bound.allows({1e20, 1e20, 0.0}));     // the decay
  CHECK(bound.allows({1e20, 1e-20, 1e18}));
  // A bound that has grown too far is replaced by what the values are.
  CHECK(bound.allows({1e20, 0.0, 1e18}));
  parameters = 0.9 * kLargest;
  bound.forget();
  CHECK(bound.allows({1.0, 0.0, 1.0}));
  CHECK(!bound.allows({0.2 * kLargest, 0.0, 1.0}));
}

WGQA_TEST(updateBoundReadsAgainBeforeItRefuses) {
  int reads = 0;
  UpdateBound bound(
      [&reads] {
        ++reads;
        return UpdateBound::Norms{1.0, 0.0};
      },
      [](double, double) { return 0.4 * kLargest; });
  // Each step alone fits, and the sum of their bounds does not.
  for (int step = 0; step < 5; ++step) CHECK(bound.allows({1.0, 0.0, 1.0}));
  CHECK_EQUAL(reads, 3);
}

}  // namespace
}  // namespace wgqa::test
