// What the CPU backend found on this machine.
#pragma once

#include <string>
#include <vector>

namespace wgqa {

struct CpuInfo {
  int threads = 1;
  /// Highway's names of the instruction sets this machine has and the kernels were compiled for.
  std::vector<std::string> instructionSets;
  /// bfloat16 products run in hardware (AVX512-BF16 and the like).
  bool bfloat16 = false;
};

CpuInfo cpuInfo();

}  // namespace wgqa
