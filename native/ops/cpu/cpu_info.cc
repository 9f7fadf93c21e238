#include "ops/cpu/cpu_info.h"

#include <hwy/targets.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <array>
#include <cstdint>
#include <cstring>

#include "base/parallel.h"

namespace wgqa {
namespace {

#if defined(__x86_64__)
// Twelve registers of text, behind the function numbers of the extended leaves.
std::string processorName() {
  std::array<unsigned, 12> text{};
  for (unsigned leaf = 0; leaf < 3; ++leaf) {
    unsigned* part = &text[4 * leaf];
    if (__get_cpuid(0x80000002u + leaf, part, part + 1, part + 2, part + 3) == 0) return {};
  }
  std::array<char, sizeof(text) + 1> name{};
  std::memcpy(name.data(), text.data(), sizeof(text));
  const std::string all = name.data();
  const std::size_t begin = all.find_first_not_of(' ');
  return begin == std::string::npos ? std::string{}
                                    : all.substr(begin, all.find_last_not_of(' ') - begin + 1);
}

std::string isaName() {
  if (__builtin_cpu_supports("avx512bf16")) return "avx512-bf16";
  if (__builtin_cpu_supports("avx512vnni")) return "avx512-vnni";
  if (__builtin_cpu_supports("avx512bw")) return "avx512";
  return __builtin_cpu_supports("avx2") ? "avx2" : "sse4";
}
#else
std::string processorName() { return {}; }
std::string isaName() {
  return hwy::TargetName(hwy::SupportedTargets() & -hwy::SupportedTargets());
}
#endif

}  // namespace

CpuInfo cpuInfo() {
  CpuInfo info;
  info.threads = threadCount();
  for (std::int64_t rest = hwy::SupportedTargets(); rest != 0; rest &= rest - 1) {
    info.instructionSets.emplace_back(hwy::TargetName(rest & -rest));
  }
#if defined(__x86_64__)
  info.bfloat16 = __builtin_cpu_supports("avx512bf16") != 0;
#endif
  info.isa = isaName();
  info.processor = processorName();
  return info;
}

}  // namespace wgqa
