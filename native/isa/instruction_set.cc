#include "isa/instruction_set.h"

#include <hwy/targets.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <fstream>
#include <oneapi/dnnl/dnnl.hpp>
#include <utility>

#include "base/error.h"

#if defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace wgqa {
namespace {

constexpr const char* kVariable = "WGQA_ISA";

struct Level {
  InstructionSet set;
  std::string_view name;
  std::int64_t target;  // what it adds for Highway
};

constexpr std::array kLevels = {
    Level{InstructionSet::baseline, "baseline", 0},
#if defined(__aarch64__)
    Level{InstructionSet::dotProduct, "dot-product", 0},
#elif defined(__x86_64__)
    Level{InstructionSet::sse4, "sse4", HWY_SSE4},
    Level{InstructionSet::avx2, "avx2", HWY_AVX2},
    Level{InstructionSet::avx512, "avx512", HWY_AVX3},
    Level{InstructionSet::avx512Vnni, "avx512-vnni", 0},
    Level{InstructionSet::avx512Bf16, "avx512-bf16", 0},
#endif
};

bool hasLevel(const Level& level) {
  if (level.target != 0) return (hwy::SupportedTargets() & level.target) != 0;
#if defined(__x86_64__)
  if (level.set == InstructionSet::avx512Vnni) return __builtin_cpu_supports("avx512vnni") != 0;
  if (level.set == InstructionSet::avx512Bf16) return __builtin_cpu_supports("avx512bf16") != 0;
#elif defined(__aarch64__) && defined(__linux__)
  if (level.set == InstructionSet::dotProduct) return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#endif
  return level.set == InstructionSet::baseline;
}

InstructionSet ofProcessor() {
  InstructionSet best = InstructionSet::baseline;
  for (const Level& level : kLevels) {
    if (!hasLevel(level)) break;
    best = level.set;
  }
  return best;
}

std::string allowedNames() {
  std::string names;
  for (const Level& level : kLevels) {
    names += (names.empty() ? "" : " | ") + ("'" + std::string(level.name) + "'");
  }
  return names;
}

InstructionSet setNamed(std::string_view name) {
  const auto found = std::ranges::find(kLevels, name, &Level::name);
  if (found == kLevels.end()) throw invalidArgument(kVariable, allowedNames(), std::string(name));
  return found->set;
}

void limitHighway(InstructionSet most) {
  std::int64_t above = 0;
  for (const Level& level : kLevels) {
    if (level.set > most) above |= level.target;
  }
  hwy::DisableTargets(above);
}

// oneDNN takes a limit once, before it makes its first product.
void limitLibrary([[maybe_unused]] InstructionSet most) {
#if defined(__x86_64__)
  using Isa = dnnl::cpu_isa;
  constexpr std::array kIsas = {
      std::pair{InstructionSet::baseline, Isa::sse41},
      std::pair{InstructionSet::sse4, Isa::sse41},
      std::pair{InstructionSet::avx2, Isa::avx2},
      std::pair{InstructionSet::avx512, Isa::avx512_core},
      std::pair{InstructionSet::avx512Vnni, Isa::avx512_core_vnni},
  };
  const auto found = std::ranges::find(kIsas, most, &decltype(kIsas)::value_type::first);
  if (found == kIsas.end()) return;
  if (dnnl::set_max_cpu_isa(found->second) != dnnl::status::success) {
    throw Error(ErrorCode::unsupported,
                "oneDNN was used or built in a way that lets nobody limit its instruction set",
                kVariable);
  }
#endif
}

InstructionSet readOnce() {
  const InstructionSet best = ofProcessor();
  const char* requested = std::getenv(kVariable);
  if (requested == nullptr || *requested == '\0') return best;
  const InstructionSet most = std::min(best, setNamed(requested));
  limitHighway(most);
  limitLibrary(most);
  return most;
}

InstructionSet inForce() {
  static const InstructionSet set = readOnce();
  return set;
}

// Of tests.
std::atomic<InstructionSet> lowered = InstructionSet::avx512Bf16;

}  // namespace

std::string_view nameOf(InstructionSet set) {
  return std::ranges::find(kLevels, set, &Level::set)->name;
}

InstructionSet instructionSet() { return std::min(inForce(), lowered.load()); }

std::vector<InstructionSet> usableInstructionSets() {
  std::vector<InstructionSet> sets;
  for (const Level& level : kLevels) {
    if (level.set <= inForce()) sets.push_back(level.set);
  }
  return sets;
}

InstructionSetLimit::InstructionSetLimit(InstructionSet most) {
  lowered = most;
  limitHighway(std::min(inForce(), most));
}

InstructionSetLimit::~InstructionSetLimit() {
  lowered = InstructionSet::avx512Bf16;
  limitHighway(inForce());
}

std::string processorName() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const auto colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return {};
}

}  // namespace wgqa
