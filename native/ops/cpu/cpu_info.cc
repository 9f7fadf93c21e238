#include "ops/cpu/cpu_info.h"

#include <hwy/targets.h>

#include <cstdint>

#include "base/parallel.h"

namespace wgqa {

CpuInfo cpuInfo() {
  CpuInfo info;
  info.threads = threadCount();
  for (std::int64_t rest = hwy::SupportedTargets(); rest != 0; rest &= rest - 1) {
    info.instructionSets.emplace_back(hwy::TargetName(rest & -rest));
  }
#if defined(__x86_64__)
  info.bfloat16 = __builtin_cpu_supports("avx512bf16") != 0;
#endif
  return info;
}

}  // namespace wgqa
