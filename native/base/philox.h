// Philox4x32-10, a counter-based random number generator (Salmon et al., SC 2011): the number at a
// position depends on nothing but the seed and the position, so results do not depend on threads.
#pragma once

#include <array>
#include <cstdint>

namespace wgqa {

inline constexpr std::uint32_t kPhiloxMultiplier0 = 0xD2511F53u;
inline constexpr std::uint32_t kPhiloxMultiplier1 = 0xCD9E8D57u;
inline constexpr std::uint32_t kPhiloxWeyl0 = 0x9E3779B9u;
inline constexpr std::uint32_t kPhiloxWeyl1 = 0xBB67AE85u;
inline constexpr int kPhiloxRounds = 10;

using PhiloxBlock = std::array<std::uint32_t, 4>;

/// Four random words for `counter` under the 64-bit key `seed`.
inline PhiloxBlock philox(std::uint64_t seed, const PhiloxBlock& counter) {
  auto key0 = static_cast<std::uint32_t>(seed);
  auto key1 = static_cast<std::uint32_t>(seed >> 32);
  // Sanitizers check each access to an array: most of a test of a large operation's time.
  std::uint32_t word0 = counter[0];
  std::uint32_t word1 = counter[1];
  std::uint32_t word2 = counter[2];
  std::uint32_t word3 = counter[3];
  for (int round = 0; round < kPhiloxRounds; ++round) {
    const std::uint64_t product0 = std::uint64_t{kPhiloxMultiplier0} * word0;
    const std::uint64_t product1 = std::uint64_t{kPhiloxMultiplier1} * word2;
    word0 = static_cast<std::uint32_t>(product1 >> 32) ^ word1 ^ key0;
    word1 = static_cast<std::uint32_t>(product1);
    word2 = static_cast<std::uint32_t>(product0 >> 32) ^ word3 ^ key1;
    word3 = static_cast<std::uint32_t>(product0);
    key0 += kPhiloxWeyl0;
    key1 += kPhiloxWeyl1;
  }
  return {word0, word1, word2, word3};
}

/// A field of random 32-bit words addressed by (row, column): word column % 4 of the block whose
/// counter is (column / 4, row, stream low, stream high). Every backend uses this addressing.
struct RandomField {
  std::uint64_t seed = 0;
  std::uint64_t stream = 0;

  std::uint32_t at(std::uint32_t row, std::uint32_t column) const {
    return philox(seed, {column / 4, row, static_cast<std::uint32_t>(stream),
                         static_cast<std::uint32_t>(stream >> 32)})[column % 4];
  }
};

/// A uniform number in (0, 1) from a random word: never 0, so that its logarithm is finite.
inline float uniformFromBits(std::uint32_t bits) {
  return (static_cast<float>(bits >> 9) + 0.5f) * (1.0f / 8388608.0f);
}

}  // namespace wgqa
