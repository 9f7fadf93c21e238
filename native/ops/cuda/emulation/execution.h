// execution.h without CUDA: kernels run on the CPU, one thread of a block after the other, each
// until it waits for others. What a race, a missing barrier or a missing wait would spoil is made
// to show: blocks run their threads in ascending and in descending order by turns, shared memory
// starts as NaN, and copies under way arrive when they are waited for, not before.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>

#include "ops/cuda/emulation/half.h"

namespace wgqa::cuda::emulation {

/// Values that the lanes of a warp show each other.
inline constexpr int kSlotBytes = 64;

/// A thread of the running kernel, as its code sees it.
struct ThreadState {
  int index = 0;
  int blockThreads = 0;
  int block[3] = {};
  int grid[3] = {};
  unsigned char* shared = nullptr;
};

const ThreadState& self();
/// Waits for all threads of the block, or of the warpgroup.
void waitForBlock();
void waitForWarpgroup();
/// Waits until `isReady`, which what other threads or deliveries do may make true.
void waitUntil(std::function<bool()> isReady);
/// Does it at once, or, every other block, when no thread can go on without: the latest first.
void deliverLater(std::function<void()> delivery);
class ProductQueue;
ProductQueue& productsOfThread();
/// Shows `bytes` of `value` to the warp, waits for all lanes to do the same, and returns what they
/// show: lane i's at i * kSlotBytes. Valid until the call after the next.
const unsigned char* showToWarp(const void* value, int bytes);
/// Throws unless the address is a multiple of `bytes`.
void requireAligned(const void* address, std::size_t bytes);
void copyLater(void* to, const void* from, int bytes);
void commitCopies();
void waitForCopies(int left);

template <typename T>
T laneValue(const unsigned char* shown, int lane) {
  static_assert(sizeof(T) <= kSlotBytes);
  T value;
  std::memcpy(&value, shown + lane * kSlotBytes, sizeof(T));
  return value;
}

}  // namespace wgqa::cuda::emulation

namespace wgqa::cuda {

// ---------------------------------------------------------------------------- where a thread is

inline int threadIndex() { return emulation::self().index; }
inline int blockThreads() { return emulation::self().blockThreads; }
inline int laneIndex() { return threadIndex() % 32; }
inline int warpIndex() { return threadIndex() / 32; }
inline int blockX() { return emulation::self().block[0]; }
inline int blockY() { return emulation::self().block[1]; }
inline int blockZ() { return emulation::self().block[2]; }
inline int gridX() { return emulation::self().grid[0]; }
inline int gridY() { return emulation::self().grid[1]; }

template <typename T>
T* dynamicShared() {
  return reinterpret_cast<T*>(emulation::self().shared);
}

// ---------------------------------------------------------------------------- together

inline void blockBarrier() { emulation::waitForBlock(); }
inline void warpBarrier() { emulation::showToWarp(nullptr, 0); }

template <typename T>
T shuffleFrom(T value, int lane) {
  return emulation::laneValue<T>(emulation::showToWarp(&value, sizeof(T)), lane % 32);
}
template <typename T>
T shuffleXor(T value, int mask) {
  return shuffleFrom(value, laneIndex() ^ mask);
}
template <typename T>
T shuffleUp(T value, int delta) {
  return shuffleFrom(value, laneIndex() < delta ? laneIndex() : laneIndex() - delta);
}
inline bool warpAny(bool value) {
  const unsigned char* shown = emulation::showToWarp(&value, sizeof(value));
  bool any = false;
  for (int lane = 0; lane < 32; ++lane) any |= emulation::laneValue<bool>(shown, lane);
  return any;
}

// One thread runs at a time: plain updates are atomic.
inline int atomicAddTo(int* address, int value) {
  const int before = *address;
  *address = before + value;
  return before;
}

template <typename T>
T loadWhole(const void* from) {
  emulation::requireAligned(from, sizeof(T));
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}
template <typename T>
void storeWhole(void* to, const T& value) {
  emulation::requireAligned(to, sizeof(T));
  std::memcpy(to, &value, sizeof(T));
}

// ---------------------------------------------------------------------------- arithmetic

inline float fastExp2(float x) { return std::exp2(x); }
inline float fastExp(float x) { return std::exp(x); }
inline float fusedMultiplyAdd(float a, float b, float c) { return std::fma(a, b, c); }
inline std::uint16_t bfloat16Bits(float x) { return emulation::bfloat16Bits(x); }
inline std::uint16_t float16Bits(float x) { return emulation::float16Bits(x); }
inline std::uint32_t bfloat16PairBits(float low, float high) {
  return bfloat16Bits(low) | std::uint32_t{bfloat16Bits(high)} << 16;
}
inline std::uint32_t float16PairBits(float low, float high) {
  return float16Bits(low) | std::uint32_t{float16Bits(high)} << 16;
}
inline float fromBFloat16Bits(std::uint16_t bits) { return emulation::fromBFloat16Bits(bits); }
inline float fromFloat16Bits(std::uint16_t bits) { return emulation::fromFloat16Bits(bits); }
inline std::uint32_t floatBits(float x) { return std::bit_cast<std::uint32_t>(x); }
inline float floatFromBits(std::uint32_t bits) { return std::bit_cast<float>(bits); }

// ---------------------------------------------------------------------------- tensor cores

namespace emulation {

/// What a lane holds of a (16 x 16) and b (16 x 8) for mma.m16n8k16, and its part of their product.
struct Fragments {
  std::uint32_t a[4];
  std::uint32_t b[2];
  float (*widen)(std::uint16_t bits);  // of an element
};
/// The lane's four elements of a * b, each summed in the order of k.
void multiplyFragments(const Fragments& own, float (&product)[4]);

inline void loadMatrices(std::uint32_t (&out)[4], const void* row, bool transposed) {
  const unsigned char* shown = showToWarp(&row, sizeof(row));
  const int lane = laneIndex();
  for (int matrix = 0; matrix < 4; ++matrix) {
    std::uint32_t word = 0;
    for (int half = 0; half < 2; ++half) {
      const int place = 2 * (lane % 4) + half;
      const int from = transposed ? place : lane / 4;
      const int element = transposed ? lane / 4 : place;
      const auto* source = laneValue<const std::uint16_t*>(shown, 8 * matrix + from);
      word |= std::uint32_t{source[element]} << (16 * half);
    }
    out[matrix] = word;
  }
}

inline void multiplyAdd(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
                        float (*widen)(std::uint16_t bits)) {
  Fragments own;
  std::memcpy(own.a, a, sizeof(a));
  std::memcpy(own.b, b, sizeof(b));
  own.widen = widen;
  float product[4];
  multiplyFragments(own, product);
  for (int i = 0; i < 4; ++i) d[i] += product[i];
}

}  // namespace emulation

inline void multiplyAdd16x8x16(float (&d)[4], const std::uint32_t (&a)[4],
                               const std::uint32_t (&b)[2]) {
  emulation::multiplyAdd(d, a, b, emulation::fromBFloat16Bits);
}
inline void multiplyAddFloat16(float (&d)[4], const std::uint32_t (&a)[4],
                               const std::uint32_t (&b)[2]) {
  emulation::multiplyAdd(d, a, b, emulation::fromFloat16Bits);
}

inline void loadMatrices(std::uint32_t (&out)[4], const void* row) {
  emulation::loadMatrices(out, row, false);
}
inline void loadMatricesTransposed(std::uint32_t (&out)[4], const void* row) {
  emulation::loadMatrices(out, row, true);
}

// ---------------------------------------------------------------------------- copies under way

inline void copyAsync16(void* shared, const void* device) {
  emulation::copyLater(shared, device, 16);
}
inline void copyAsync16OrZero(void* shared, const void* device, bool given) {
  emulation::copyLater(shared, given ? device : nullptr, 16);
}
inline void commitCopies() { emulation::commitCopies(); }
template <int kLeft>
void waitForCopies() {
  emulation::waitForCopies(kLeft);
}

}  // namespace wgqa::cuda
