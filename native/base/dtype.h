// Element types and the scalar conversions between them.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace wgqa {

enum class DType : std::uint8_t { float32, float16, bfloat16, int32, int8 };

constexpr std::size_t bytesOf(DType dtype) {
  if (dtype == DType::int8) return 1;
  return dtype == DType::float32 || dtype == DType::int32 ? 4 : 2;
}

/// "float32", "float16", "bfloat16", "int32", "int8": the spelling used in TypeScript and files.
std::string_view dtypeName(DType dtype);

/// Throws ErrorCode::invalidArgument with `field` for an unknown name.
DType dtypeFromName(std::string_view name, std::string_view field);

/// Storage of a bfloat16 number: the upper half of a float32.
struct BFloat16 {
  std::uint16_t bits;
};

/// Storage of an IEEE 754 binary16 number.
struct Float16 {
  std::uint16_t bits;
};

inline float toFloat(BFloat16 value) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(value.bits) << 16);
}

/// Rounds to nearest even; NaN stays NaN.
inline BFloat16 toBFloat16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) {
    return {static_cast<std::uint16_t>((bits >> 16) | 0x40u)};
  }
  return {static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}

float toFloat(Float16 value);

/// Rounds to nearest even; overflow gives infinity, NaN stays NaN.
Float16 toFloat16(float value);

}  // namespace wgqa
