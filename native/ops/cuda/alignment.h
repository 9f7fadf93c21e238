// Whether kernels may read and write four neighbouring elements as one.
#pragma once

#include <cstdint>
#include <initializer_list>

namespace wgqa::cuda {

/// Whether all rows of float32 matrices of `columns` begin at 16 bytes, and end there. Matrices of
/// smaller elements may need less, but lie as the others do.
inline bool haveAlignedRows(std::int64_t columns, std::initializer_list<const void*> matrices) {
  for (const void* matrix : matrices) {
    if (reinterpret_cast<std::uintptr_t>(matrix) % 16 != 0) return false;
  }
  return columns % 4 == 0;
}

}  // namespace wgqa::cuda
