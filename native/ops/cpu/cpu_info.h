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
  /// Highest level in force: "sse4", "avx2", "avx512", "avx512-vnni" or "avx512-bf16"; elsewhere
  /// Highway's name of the best target.
  std::string isa;
  /// As the processor names itself, or empty.
  std::string processor;
};

CpuInfo cpuInfo();

}  // namespace wgqa
