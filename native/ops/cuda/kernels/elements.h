// Element types of tensors on the device: storage, and conversion from and to float.
#pragma once

#include <type_traits>

#include "ops/cuda/kernels/execution.h"

namespace wgqa::cuda {

/// Storage of a bfloat16 number, and what tensor cores do with such numbers.
struct BFloat16Element {
  std::uint16_t bits;

  /// Two of them in a word, `low` in its lower half.
  WGQA_DEVICE static std::uint32_t pairBits(float low, float high) {
    return bfloat16PairBits(low, high);
  }
  WGQA_DEVICE static void multiplyAdd(float (&d)[4], const std::uint32_t (&a)[4],
                                      const std::uint32_t (&b)[2]) {
    multiplyAdd16x8x16(d, a, b);
  }
};
/// The same of IEEE 754 binary16.
struct Float16Element {
  std::uint16_t bits;

  WGQA_DEVICE static std::uint32_t pairBits(float low, float high) {
    return float16PairBits(low, high);
  }
  WGQA_DEVICE static void multiplyAdd(float (&d)[4], const std::uint32_t (&a)[4],
                                      const std::uint32_t (&b)[2]) {
    multiplyAddFloat16(d, a, b);
  }
};

/// Of the two 16-bit types.
template <typename T>
inline constexpr bool isBFloat16 = std::is_same_v<T, BFloat16Element>;

WGQA_DEVICE float widen(float x) { return x; }
WGQA_DEVICE float widen(BFloat16Element x) { return fromBFloat16Bits(x.bits); }
WGQA_DEVICE float widen(Float16Element x) { return fromFloat16Bits(x.bits); }
WGQA_DEVICE float widen(std::int8_t x) { return static_cast<float>(x); }

WGQA_DEVICE void round(float x, float& out) { out = x; }
WGQA_DEVICE void round(float x, BFloat16Element& out) { out.bits = bfloat16Bits(x); }
WGQA_DEVICE void round(float x, Float16Element& out) { out.bits = float16Bits(x); }

/// Of a tensor whose type a kernel learns when it runs.
enum class FloatType : std::int32_t { float32, float16, bfloat16 };

/// Writes an element of such a tensor.
WGQA_DEVICE void roundTo(float x, void* tensor, std::int64_t element, FloatType type) {
  if (type == FloatType::float32) {
    static_cast<float*>(tensor)[element] = x;
  } else if (type == FloatType::float16) {
    round(x, static_cast<Float16Element*>(tensor)[element]);
  } else {
    round(x, static_cast<BFloat16Element*>(tensor)[element]);
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
