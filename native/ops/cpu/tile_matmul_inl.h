// The product of two small matrices that lie in cache: the one micro-kernel under every product of
// attention, forward and backward. Defined once per Highway target in tile_matmul.cc.
#if defined(WGQA_OPS_CPU_TILE_MATMUL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef WGQA_OPS_CPU_TILE_MATMUL_INL_H_
#undef WGQA_OPS_CPU_TILE_MATMUL_INL_H_
#else
#define WGQA_OPS_CPU_TILE_MATMUL_INL_H_
#endif

#include <cstddef>

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace wgqa::cpu::HWY_NAMESPACE {

/// Vector registers of the target: how much of a product a kernel may hold in them.
#if HWY_TARGET == HWY_SSE4 || HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_SCALAR
inline constexpr int kVectorRegisters = 16;
#else
inline constexpr int kVectorRegisters = 32;
#endif

/// c = a b, or c += a b. Strides count floats. `a` may be transposed: it is read by single floats,
/// while rows of `b` and `c` are dense and padded to whole vectors.
struct TileProduct {
  const float* a = nullptr;  // element (row, k) at a[row * aRowStride + k * aDepthStride]
  std::ptrdiff_t aRowStride = 0;
  std::ptrdiff_t aDepthStride = 1;
  const float* b = nullptr;  // [depth, columns]
  std::ptrdiff_t bStride = 0;
  float* c = nullptr;  // [rows, columns]
  std::ptrdiff_t cStride = 0;
  int rows = 0;
  int columns = 0;  // a multiple of the target's lanes
  int depth = 0;
  bool add = false;  // whether c is added to or overwritten
};

void tileMatmul(const TileProduct& t);

}  // namespace wgqa::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
