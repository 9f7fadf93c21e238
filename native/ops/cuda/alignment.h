// Whether kernels may read and write 16 bytes as one.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>

namespace wgqa::cuda {

/// Whether all tensors begin at 16 bytes; those that are null do.
inline bool areAligned(std::initializer_list<const void*> tensors) {
  return std::ranges::all_of(
      tensors, [](const void* data) { return reinterpret_cast<std::uintptr_t>(data) % 16 == 0; });
}

/// Whether all rows of float32 matrices of `columns` begin at 16 bytes, and end there. Matrices of
/// smaller elements may need less, but lie as the others do.
inline bool haveAlignedRows(std::int64_t columns, std::initializer_list<const void*> matrices) {
  return columns % 4 == 0 && areAligned(matrices);
}

}  // namespace wgqa::cuda
