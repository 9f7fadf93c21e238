// What tells the copy engine of Hopper GPUs how a tensor lies in device memory and which box of it
// one copy takes. The host has a driver make it; kernels get it in their arguments.
#pragma once

#include <cstdint>

namespace wgqa::cuda {

/// As the driver that made it has it. The engine reads it where it lies aligned, in a kernel's own
/// arguments (WGQA_CONSTANT_ARGUMENTS).
struct alignas(128) TensorMap {
  std::uint64_t words[16];
};

/// A tensor of [tokens, heads, columns] 16-bit numbers, dense, on a multiple of 16 bytes; columns a
/// multiple of 8. A copy takes `boxTokens` tokens (256 at most) of kTensorBoxColumns columns of one
/// head. What lies outside of the tensor arrives as zeros.
struct TensorBoxes {
  const void* data;
  std::int64_t tokens;
  std::int32_t heads;
  std::int32_t columns;
  std::int32_t boxTokens;
};

/// 128 bytes, over which the 16-byte chunks of row r are permuted by exclusive or with r % 8: as a
/// TileLayout of so many columns has them (tensor_tile.h).
inline constexpr int kTensorBoxColumns = 64;

}  // namespace wgqa::cuda
