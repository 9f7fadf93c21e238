// What the CPU backend found on this machine.
#pragma once

#include <string>
#include <vector>

namespace wgqa {

struct CpuInfo {
  int threads = 1;
  /// The processor's own name; empty where it tells none.
  std::string processor;
  /// The instruction set in force (isa/instruction_set.h), and those that could be.
  std::string isa;
  std::vector<std::string> instructionSets;
  /// bfloat16 products run in hardware (AVX512-BF16 and the like).
  bool bfloat16 = false;
};

CpuInfo cpuInfo();

}  // namespace wgqa
