#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/tile_matmul.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "ops/cpu/tile_matmul_inl.h"

HWY_BEFORE_NAMESPACE();
namespace wgqa::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;
constexpr int kLanes = static_cast<int>(hn::MaxLanes(D()));

// Rows x vectors of c held in registers: 24 of 32 registers, or 12 of 16.
constexpr int kBlockRows = 6;
constexpr int kBlockVectors = kVectorRegisters / 8;

template <int kRows, int kVectors>
void multiplyBlock(const TileProduct& t, const float* HWY_RESTRICT a, const float* HWY_RESTRICT b,
                   float* HWY_RESTRICT c) {
  const D d;
  V sum[kRows][kVectors];
  HWY_UNROLL(8)
  for (int r = 0; r < kRows; ++r) {
    HWY_UNROLL(8)
    for (int v = 0; v < kVectors; ++v) {
      sum[r][v] = t.add ? hn::LoadU(d, c + r * t.cStride + v * kLanes) : hn::Zero(d);
    }
  }
  for (int k = 0; k < t.depth; ++k) {
    V row[kVectors];
    HWY_UNROLL(8)
    for (int v = 0; v < kVectors; ++v) row[v] = hn::LoadU(d, b + v * kLanes);
    HWY_UNROLL(8)
    for (int r = 0; r < kRows; ++r) {
      const V scalar = hn::Set(d, a[r * t.aRowStride]);
      HWY_UNROLL(8)
      for (int v = 0; v < kVectors; ++v) sum[r][v] = hn::MulAdd(scalar, row[v], sum[r][v]);
    }
    a += t.aDepthStride;
    b += t.bStride;
  }
  HWY_UNROLL(8)
  for (int r = 0; r < kRows; ++r) {
    HWY_UNROLL(8)
    for (int v = 0; v < kVectors; ++v) hn::StoreU(sum[r][v], d, c + r * t.cStride + v * kLanes);
  }
}

template <int kRows>
void multiplyRows(const TileProduct& t, const float* a, float* c) {
  int column = 0;
  for (; column + kBlockVectors * kLanes <= t.columns; column += kBlockVectors * kLanes) {
    multiplyBlock<kRows, kBlockVectors>(t, a, t.b + column, c + column);
  }
  const int vectors = (t.columns - column) / kLanes;
  if (vectors == 1) multiplyBlock<kRows, 1>(t, a, t.b + column, c + column);
  if constexpr (kBlockVectors > 2) {
    if (vectors == 2) multiplyBlock<kRows, 2>(t, a, t.b + column, c + column);
    if (vectors == 3) multiplyBlock<kRows, 3>(t, a, t.b + column, c + column);
  }
}

void tileMatmul(const TileProduct& t) {
  const float* a = t.a;
  float* c = t.c;
  int row = 0;
  for (; row + kBlockRows <= t.rows; row += kBlockRows) {
    multiplyRows<kBlockRows>(t, a, c);
    a += kBlockRows * t.aRowStride;
    c += kBlockRows * t.cStride;
  }
  switch (t.rows - row) {
    case 1:
      return multiplyRows<1>(t, a, c);
    case 2:
      return multiplyRows<2>(t, a, c);
    case 3:
      return multiplyRows<3>(t, a, c);
    case 4:
      return multiplyRows<4>(t, a, c);
    case 5:
      return multiplyRows<5>(t, a, c);
    default:
      return;
  }
}

}  // namespace wgqa::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
