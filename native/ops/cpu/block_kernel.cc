#include "ops/cpu/block_kernel.h"

#include "base/error.h"

// Highway 1.0 has neither instruction: these are the compiler's own intrinsics, for x86 alone.
#if defined(__x86_64__)

#include <immintrin.h>

#include <cstring>

#define WGQA_BFLOAT16_TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16")))
#define WGQA_INT8_TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))

namespace wgqa::cpu {
namespace {

// Vectors of a block, and rows of x that are multiplied at a time: as many as leave every sum in a
// register.
constexpr int kVectors = 4;
constexpr int kVectorFeatures = 16;
constexpr int kRowTile = 6;
static_assert(kVectors * kVectorFeatures == kBlockFeatures);

template <typename T>
inline std::int32_t groupAt(const T* x) {
  std::int32_t group;
  std::memcpy(&group, x, sizeof group);
  return group;
}

template <int kRows>
WGQA_BFLOAT16_TARGET void multiplyBFloat16(const BlockRows& p, const BFloat16* x, float* sums) {
  __m512 sum[kRows][kVectors];
#pragma GCC unroll 6
  for (int row = 0; row < kRows; ++row) {
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i) sum[row][i] = _mm512_setzero_ps();
  }
  const auto* weight = static_cast<const BFloat16*>(p.weight);
  for (std::int64_t k = 0; k < p.depth; k += 2, weight += 2 * kBlockFeatures) {
    __m512bh w[kVectors];
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i) {
      w[i] = reinterpret_cast<__m512bh>(_mm512_loadu_si512(weight + 2 * kVectorFeatures * i));
    }
#pragma GCC unroll 6
    for (int row = 0; row < kRows; ++row) {
      const auto pair =
          reinterpret_cast<__m512bh>(_mm512_set1_epi32(groupAt(x + row * p.xStride + k)));
#pragma GCC unroll 4
      for (int i = 0; i < kVectors; ++i) sum[row][i] = _mm512_dpbf16_ps(sum[row][i], pair, w[i]);
    }
  }
#pragma GCC unroll 6
  for (int row = 0; row < kRows; ++row) {
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i) {
      _mm512_storeu_ps(sums + row * kBlockFeatures + i * kVectorFeatures, sum[row][i]);
    }
  }
}

template <int kRows>
WGQA_INT8_TARGET void multiplyInt8(const BlockRows& p, const std::uint8_t* x, std::int32_t* sums) {
  __m512i sum[kRows][kVectors];
#pragma GCC unroll 6
  for (int row = 0; row < kRows; ++row) {
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i) {
      sum[row][i] = _mm512_loadu_si512(p.offsets + i * kVectorFeatures);
    }
  }
  const auto* weight = static_cast<const std::int8_t*>(p.weight);
  for (std::int64_t k = 0; k < p.depth; k += 4, weight += 4 * kBlockFeatures) {
    __m512i w[kVectors];
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i) {
      w[i] = _mm512_loadu_si512(weight + 4 * kVectorFeatures * i);
    }
#pragma GCC unroll 6
    for (int row = 0; row < kRows; ++row) {
      const __m512i four = _mm512_set1_epi32(groupAt(x + row * p.xStride + k));
#pragma GCC unroll 4
      for (int i = 0; i < kVectors; ++i) sum[row][i] = _mm512_dpbusd_epi32(sum[row][i], four, w[i]);
    }
  }
#pragma GCC unroll 6
  for (int row = 0; row < kRows; ++row) {
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i) {
      _mm512_storeu_si512(sums + row * kBlockFeatures + i * kVectorFeatures, sum[row][i]);
    }
  }
}

// Calls visit.operator()<n>() for n = rows, at most kRowTile.
template <typename Visit>
void forRowCount(std::int64_t rows, const Visit& visit) {
  switch (rows) {
    case 1:
      return visit.template operator()<1>();
    case 2:
      return visit.template operator()<2>();
    case 3:
      return visit.template operator()<3>();
    case 4:
      return visit.template operator()<4>();
    case 5:
      return visit.template operator()<5>();
    default:
      return visit.template operator()<kRowTile>();
  }
}

}  // namespace

bool hasBlockKernel(DType dtype) {
  if (dtype == DType::bfloat16) return __builtin_cpu_supports("avx512bf16") != 0;
  return dtype == DType::int8 && __builtin_cpu_supports("avx512vnni") != 0;
}

void multiplyBlock(const BlockRows& p) {
  // Tiles of nearly one size: a short one costs as many loads of the weight as a full one.
  const std::int64_t tiles = (p.rows + kRowTile - 1) / kRowTile;
  for (std::int64_t tile = 0; tile < tiles; ++tile) {
    const std::int64_t begin = p.rows * tile / tiles;
    const std::int64_t rows = p.rows * (tile + 1) / tiles - begin;
    const std::int64_t at = begin * p.xStride;
    if (p.dtype == DType::bfloat16) {
      forRowCount(rows, [&]<int kRows>() {
        multiplyBFloat16<kRows>(p, static_cast<const BFloat16*>(p.x) + at,
                                static_cast<float*>(p.sums) + begin * kBlockFeatures);
      });
    } else {
      forRowCount(rows, [&]<int kRows>() {
        multiplyInt8<kRows>(p, static_cast<const std::uint8_t*>(p.x) + at,
                            static_cast<std::int32_t*>(p.sums) + begin * kBlockFeatures);
      });
    }
  }
}

}  // namespace wgqa::cpu

#else

namespace wgqa::cpu {

bool hasBlockKernel(DType) { return false; }
void multiplyBlock(const BlockRows&) { throw Error(ErrorCode::internal, "no such instructions"); }

}  // namespace wgqa::cpu

#endif
