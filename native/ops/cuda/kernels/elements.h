// Element types of tensors on the device: storage, and conversion from and to float.
#pragma once

#include "ops/cuda/kernels/execution.h"

namespace wgqa::cuda {

/// Storage of a bfloat16 number.
struct BFloat16Element {
  std::uint16_t bits;
};
/// Storage of an IEEE 754 binary16 number.
struct Float16Element {
  std::uint16_t bits;
};

WGQA_DEVICE float widen(float x) { return x; }
WGQA_DEVICE float widen(BFloat16Element x) { return fromBFloat16Bits(x.bits); }
WGQA_DEVICE float widen(Float16Element x) { return fromFloat16Bits(x.bits); }
WGQA_DEVICE float widen(std::int8_t x) { return static_cast<float>(x); }

WGQA_DEVICE void round(float x, float& out) { out = x; }
WGQA_DEVICE void round(float x, BFloat16Element& out) { out.bits = bfloat16Bits(x); }
WGQA_DEVICE void round(float x, Float16Element& out) { out.bits = float16Bits(x); }

/// Writes an element of a tensor of either type.
WGQA_DEVICE void roundTo(float x, void* tensor, std::int64_t element, bool isBFloat16) {
  if (isBFloat16) {
    round(x, static_cast<BFloat16Element*>(tensor)[element]);
  } else {
    static_cast<float*>(tensor)[element] = x;
  }
}

/// `kCount` elements that are read or written as one; aligned to their size, 16 bytes at most.
template <typename T, int kCount>
struct alignas(sizeof(T) * kCount) Vector {
  T elements[kCount];
};

/// Elements of T in 16 bytes.
template <typename T>
inline constexpr int kPer16Bytes = 16 / static_cast<int>(sizeof(T));

template <int kCount, typename T>
WGQA_DEVICE Vector<T, kCount> loadVector(const T* from) {
  return loadWhole<Vector<T, kCount>>(from);
}
template <typename T, int kCount>
WGQA_DEVICE void storeVector(T* to, const Vector<T, kCount>& vector) {
  storeWhole(to, vector);
}

}  // namespace wgqa::cuda
