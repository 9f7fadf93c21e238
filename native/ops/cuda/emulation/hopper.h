// hopper.h without CUDA. As in execution.h, what a missing wait would spoil is made to show: boxes
// arrive at once in one block and when nothing else can go on in the next, the latest first, and
// products are done when they are waited for.
#pragma once

#include "ops/cuda/emulation/execution.h"
#include "ops/cuda/emulation/products.h"
#include "ops/cuda/kernels/elements.h"
#include "ops/cuda/kernels/tensor_map.h"

#define WGQA_CONSTANT_ARGUMENTS(Type) const Type&

namespace wgqa::cuda {

inline constexpr bool kHasHopper = true;

// ---------------------------------------------------------------------------- barriers

struct SharedBarrier {
  std::uint8_t parity;  // of the phase under way
  std::uint8_t arrivals;
  std::uint16_t missing;
  std::int32_t bytes;  // announced and not there
};
static_assert(sizeof(SharedBarrier) == 8);

void initialise(SharedBarrier& barrier, int arrivals);
inline void publishBarriers() {}
void arrive(SharedBarrier& barrier);
void arriveExpecting(SharedBarrier& barrier, int bytes);
void waitFor(SharedBarrier& barrier, int parity);
inline void warpgroupBarrier() { emulation::waitForWarpgroup(); }

// ---------------------------------------------------------------------------- copies

void copyBox(void* shared, const TensorMap& map, int column, int head, int token,
             SharedBarrier& full);
void copyBytes(void* shared, const void* device, int bytes, SharedBarrier& full);
inline void showToProducts() {}

namespace emulation {
/// What copyBox() reads of a map. Throws where CUDA would refuse to make it.
void describe(const TensorBoxes& boxes, TensorMap& map);
}  // namespace emulation

// ---------------------------------------------------------------------------- registers

template <int kCount>
void keepRegisters() {}
template <int kCount>
void takeRegisters() {}

// ---------------------------------------------------------------------------- products

struct SharedMatrix {
  std::uint64_t descriptor;
};
SharedMatrix sharedMatrix(const void* first, int leadingBytes);
inline SharedMatrix bytesOn(SharedMatrix matrix, int bytes) {
  return {matrix.descriptor + static_cast<std::uint64_t>(bytes >> 4)};
}

void beginProducts();
void commitProducts();
namespace emulation {
void waitForProducts(int left);
}  // namespace emulation
template <int kLeft, int kCount>
void waitForProducts(float (&)[kCount]) {
  emulation::waitForProducts(kLeft);
}

namespace emulation {
void multiplyAsync(Product product, SharedMatrix a, SharedMatrix b);
void multiplyAsync(Product product, const std::uint32_t (&a)[4], SharedMatrix b);
}  // namespace emulation

template <typename T, bool kAdds, int kCount>
void multiplyRowsAsync(float (&sums)[kCount], SharedMatrix a, SharedMatrix b) {
  emulation::multiplyAsync({.sums = sums,
                            .columns = 2 * kCount,
                            .isBFloat16 = isBFloat16<T>,
                            .adds = kAdds,
                            .rowsOfB = true},
                           a, b);
}
template <bool kAdds, int kCount>
void multiplyFragmentRowsAsync(float (&sums)[kCount], const std::uint32_t (&a)[4], SharedMatrix b) {
  emulation::multiplyAsync(
      {.sums = sums, .columns = 2 * kCount, .isBFloat16 = true, .adds = kAdds, .rowsOfB = true}, a,
      b);
}
template <typename T, int kCount>
void multiplyFragmentAsync(float (&sums)[kCount], const std::uint32_t (&a)[4], SharedMatrix b) {
  emulation::multiplyAsync({.sums = sums,
                            .columns = 2 * kCount,
                            .isBFloat16 = isBFloat16<T>,
                            .adds = true,
                            .rowsOfB = false},
                           a, b);
}

}  // namespace wgqa::cuda
