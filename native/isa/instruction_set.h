// Which instruction sets are used: all that the processor has, or fewer on request.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace wgqa {

/// In ascending order: each has what those before it have.
enum class InstructionSet : std::uint8_t {
  baseline,    // what the compiler assumes: SSE2 on x86-64, NEON on arm64
  dotProduct,  // arm64: NEON with dot products of bytes
  sse4,        // x86-64 from here on
  avx2,
  avx512,
  avx512Vnni,
  avx512Bf16,
};

/// As WGQA_ISA spells it: 'sse4', 'avx512-vnni'.
std::string_view nameOf(InstructionSet set);

/// The highest that the processor has and the environment variable WGQA_ISA, read once, allows. The
/// first call limits Highway's dispatch and oneDNN's alike, so it must come before their first use.
/// Throws ErrorCode::invalidArgument where WGQA_ISA names none.
InstructionSet instructionSet();

/// Those from the lowest for which there are kernels to instructionSet().
std::vector<InstructionSet> usableInstructionSets();

/// Keeps our own kernels, though not oneDNN's, to fewer while it lives: for tests, on one thread at
/// a time.
class InstructionSetLimit {
 public:
  explicit InstructionSetLimit(InstructionSet most);
  ~InstructionSetLimit();
  InstructionSetLimit(const InstructionSetLimit&) = delete;
  InstructionSetLimit& operator=(const InstructionSetLimit&) = delete;
};

/// The processor's own name of itself; empty where it tells none.
std::string processorName();

}  // namespace wgqa
