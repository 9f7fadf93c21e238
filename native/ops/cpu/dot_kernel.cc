// Highway 1.0 has neither instruction: these are the compiler's own intrinsics, for x86 alone.
#include "ops/cpu/block_kernel.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include <cstring>

#include "ops/cpu/row_tiles.h"

#define WGQA_BFLOAT16_TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16")))
#define WGQA_INT8_TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))

namespace wgqa::cpu {
namespace {

// Vectors of a block, and rows of x that are multiplied at a time: as many as leave every sum in a
// register.
constexpr int kVectors = 4;
constexpr int kVectorWords = 16;
constexpr int kFeatures = kVectors * kVectorWords;
constexpr int kRowTile = 6;

inline std::int32_t wordAt(const std::byte* x) {
  std::int32_t word;
  std::memcpy(&word, x, sizeof word);
  return word;
}

template <int kRows>
WGQA_BFLOAT16_TARGET void multiplyBFloat16(const BlockRows& p, std::int64_t firstRow) {
  __m512 sum[kRows][kVectors];
#pragma GCC unroll 6
  for (int row = 0; row < kRows; ++row) {
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i) sum[row][i] = _mm512_setzero_ps();
  }
  const std::byte* x = p.x + firstRow * p.xStride;
  const std::byte* weight = p.weight;
  for (std::int64_t k = 0; k < p.words; ++k, x += kWordBytes, weight += kFeatures * kWordBytes) {
    __m512bh w[kVectors];
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i) {
      w[i] = reinterpret_cast<__m512bh>(_mm512_loadu_si512(weight + i * kVectorWords * kWordBytes));
    }
#pragma GCC unroll 6
    for (int row = 0; row < kRows; ++row) {
      const auto pair = reinterpret_cast<__m512bh>(_mm512_set1_epi32(wordAt(x + row * p.xStride)));
#pragma GCC unroll 4
      for (int i = 0; i < kVectors; ++i) sum[row][i] = _mm512_dpbf16_ps(sum[row][i], pair, w[i]);
    }
  }
  float* sums = static_cast<float*>(p.sums) + firstRow * kFeatures;
#pragma GCC unroll 6
  for (int row = 0; row < kRows; ++row) {
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i) {
      _mm512_storeu_ps(sums + row * kFeatures + i * kVectorWords, sum[row][i]);
    }
  }
}

template <int kRows>
WGQA_INT8_TARGET void multiplyInt8(const BlockRows& p, std::int64_t firstRow) {
  __m512i sum[kRows][kVectors];
#pragma GCC unroll 6
  for (int row = 0; row < kRows; ++row) {
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i)
      sum[row][i] = _mm512_loadu_si512(p.offsets + i * kVectorWords);
  }
  const std::byte* x = p.x + firstRow * p.xStride;
  const std::byte* weight = p.weight;
  for (std::int64_t k = 0; k < p.words; ++k, x += kWordBytes, weight += kFeatures * kWordBytes) {
    __m512i w[kVectors];
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i) {
      w[i] = _mm512_loadu_si512(weight + i * kVectorWords * kWordBytes);
    }
#pragma GCC unroll 6
    for (int row = 0; row < kRows; ++row) {
      const __m512i four = _mm512_set1_epi32(wordAt(x + row * p.xStride));
#pragma GCC unroll 4
      for (int i = 0; i < kVectors; ++i) sum[row][i] = _mm512_dpbusd_epi32(sum[row][i], four, w[i]);
    }
  }
  std::int32_t* sums = static_cast<std::int32_t*>(p.sums) + firstRow * kFeatures;
#pragma GCC unroll 6
  for (int row = 0; row < kRows; ++row) {
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i) {
      _mm512_storeu_si512(sums + row * kFeatures + i * kVectorWords, sum[row][i]);
    }
  }
}

void multiplyBFloat16Rows(const BlockRows& p) {
  forRowTiles<kRowTile>(p.rows,
                        [&]<int kRows>(std::int64_t row) { multiplyBFloat16<kRows>(p, row); });
}

void multiplyInt8Rows(const BlockRows& p) {
  forRowTiles<kRowTile>(p.rows, [&]<int kRows>(std::int64_t row) { multiplyInt8<kRows>(p, row); });
}

}  // namespace

const BlockKernel* dotKernel(DType dtype) {
  static constexpr BlockKernel kBFloat16{kFeatures, multiplyBFloat16Rows};
  static constexpr BlockKernel kInt8{kFeatures, multiplyInt8Rows};
  if (dtype == DType::bfloat16 && __builtin_cpu_supports("avx512bf16")) return &kBFloat16;
  if (dtype == DType::int8 && __builtin_cpu_supports("avx512vnni")) return &kInt8;
  return nullptr;
}

}  // namespace wgqa::cpu

#else

namespace wgqa::cpu {

const BlockKernel* dotKernel(DType) { return nullptr; }

}  // namespace wgqa::cpu

#endif
