// Four neighbouring elements of a row at a time, read and written as one where they are aligned.
#pragma once

#include "ops/cuda/kernels/elements.h"

namespace wgqa::cuda {

struct FourFloats {
  float values[4];
};

/// Whether kCount elements at `pointer` can be one access.
template <int kCount, typename T>
WGQA_DEVICE bool isAlignedFor(const T* pointer) {
  return reinterpret_cast<std::uintptr_t>(pointer) % (sizeof(T) * kCount) == 0;
}

/// How many of the four elements from `column` on a row of `columns` has.
WGQA_DEVICE int validAt(std::int64_t column, std::int64_t columns) {
  return columns - column < 4 ? static_cast<int>(columns - column) : 4;
}

/// The first `valid` of four elements; zeros for the rest.
template <typename T>
WGQA_DEVICE FourFloats loadFour(const T* from, int valid) {
  FourFloats result{};
  if (valid == 4 && isAlignedFor<4>(from)) {
    const Vector<T, 4> vector = loadVector<4>(from);
    WGQA_UNROLL
    for (int i = 0; i < 4; ++i) result.values[i] = widen(vector.elements[i]);
  } else {
    WGQA_UNROLL
    for (int i = 0; i < 4; ++i) {
      if (i < valid) result.values[i] = widen(from[i]);
    }
  }
  return result;
}

/// Writes the first `valid` of four elements.
template <typename T>
WGQA_DEVICE void storeFour(const FourFloats& from, T* to, int valid) {
  if (valid == 4 && isAlignedFor<4>(to)) {
    Vector<T, 4> vector;
    WGQA_UNROLL
    for (int i = 0; i < 4; ++i) round(from.values[i], vector.elements[i]);
    storeVector(to, vector);
  } else {
    WGQA_UNROLL
    for (int i = 0; i < 4; ++i) {
      if (i < valid) round(from.values[i], to[i]);
    }
  }
}

}  // namespace wgqa::cuda
