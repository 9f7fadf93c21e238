// Hashes of token sequences. They only choose a bucket: keys are always compared in full.
#pragma once

#include <cstdint>
#include <span>

namespace wgqa {

/// Mixes `value` into `hash` (the finaliser of MurmurHash3 on their combination).
inline std::uint64_t mixHash(std::uint64_t hash, std::uint64_t value) {
  hash = (hash ^ value) * 0xFF51AFD7ED558CCDull;
  hash = (hash ^ (hash >> 33)) * 0xC4CEB9FE1A85EC53ull;
  return hash ^ (hash >> 33);
}

inline std::uint64_t hashTokens(std::uint64_t seed, std::span<const std::int32_t> tokens) {
  for (const std::int32_t token : tokens) seed = mixHash(seed, static_cast<std::uint32_t>(token));
  return seed;
}

}  // namespace wgqa
