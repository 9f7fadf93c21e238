#include "test/ops_backends.h"

#include <hwy/targets.h>

namespace wgqa::test {
namespace {

constexpr int kRandomCases = 200;

// Makes run-time dispatch choose one instruction set while it lives.
class SimdTarget {
 public:
  explicit SimdTarget(std::int64_t target) {
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(target);
  }
  ~SimdTarget() {
    hwy::SetSupportedTargetsForTest(0);
    hwy::GetChosenTarget().DeInit();
  }
  SimdTarget(const SimdTarget&) = delete;
  SimdTarget& operator=(const SimdTarget&) = delete;
};

}  // namespace

std::vector<Backend> backends() {
  std::vector<Backend> all = {{.name = "cpu", .make = makeCpuOps, .randomCases = kRandomCases}};
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
    all.push_back({.name = std::string("cpu/") + hwy::TargetName(target),
                   .make = makeCpuOps,
                   .enter = [target] { return std::make_shared<SimdTarget>(target); }});
  }
  return all;
}

}  // namespace wgqa::test
