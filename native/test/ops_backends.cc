#include "test/ops_backends.h"

#include "isa/instruction_set.h"

namespace wgqa::test {
namespace {

constexpr int kRandomCases = 200;

}  // namespace

std::vector<Backend> backends() {
  std::vector<Backend> all = {{.name = "cpu", .make = makeCpuOps, .randomCases = kRandomCases}};
  // The highest is the first one above.
  for (const InstructionSet set : usableInstructionSets()) {
    if (set == instructionSet()) continue;
    all.push_back({.name = "cpu/" + std::string(nameOf(set)), .make = makeCpuOps, .enter = [set] {
                     return std::make_shared<InstructionSetLimit>(set);
                   }});
  }
  return all;
}

}  // namespace wgqa::test
