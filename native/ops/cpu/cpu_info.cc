#include "ops/cpu/cpu_info.h"

#include "base/parallel.h"
#include "isa/instruction_set.h"

namespace wgqa {

CpuInfo cpuInfo() {
  CpuInfo info;
  info.threads = threadCount();
  info.processor = processorName();
  info.isa = nameOf(instructionSet());
  info.bfloat16 = instructionSet() >= InstructionSet::avx512Bf16;
  for (const InstructionSet set : usableInstructionSets()) {
    info.instructionSets.emplace_back(nameOf(set));
  }
  return info;
}

}  // namespace wgqa
