// Highway 1.0 has none of these instructions: here are the compiler's own intrinsics.
#include "ops/cpu/block_kernel.h"

#include "isa/instruction_set.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include <cstring>

#include "ops/cpu/row_tiles.h"

#define WGQA_DOT_TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16,avx512vnni")))

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

// Pairs of bfloat16, summed in float32.
struct Pairs {
  using Sum = __m512;
  WGQA_DOT_TARGET static inline Sum first(const BlockRows&, int) { return _mm512_setzero_ps(); }
  WGQA_DOT_TARGET static inline Sum added(Sum sum, __m512i x, __m512i weight) {
    return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(x), reinterpret_cast<__m512bh>(weight));
  }
  WGQA_DOT_TARGET static inline __m512i bits(Sum sum) { return _mm512_castps_si512(sum); }
};

// Four unsigned bytes of x by four signed ones, summed in int32.
struct Bytes {
  using Sum = __m512i;
  WGQA_DOT_TARGET static inline Sum first(const BlockRows& p, int vector) {
    return _mm512_loadu_si512(p.offsets + vector * kVectorWords);
  }
  WGQA_DOT_TARGET static inline Sum added(Sum sum, __m512i x, __m512i weight) {
    return _mm512_dpbusd_epi32(sum, x, weight);
  }
  WGQA_DOT_TARGET static inline __m512i bits(Sum sum) { return sum; }
};

template <class Word, int kRows>
WGQA_DOT_TARGET void multiplyTile(const BlockRows& p, std::int64_t firstRow) {
  typename Word::Sum sum[kRows][kVectors];
#pragma GCC unroll 6
  for (int row = 0; row < kRows; ++row) {
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i) sum[row][i] = Word::first(p, i);
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
      const __m512i own = _mm512_set1_epi32(wordAt(x + row * p.xStride));
#pragma GCC unroll 4
      for (int i = 0; i < kVectors; ++i) sum[row][i] = Word::added(sum[row][i], own, w[i]);
    }
  }
  std::byte* sums = static_cast<std::byte*>(p.sums) + firstRow * kFeatures * kWordBytes;
#pragma GCC unroll 6
  for (int row = 0; row < kRows; ++row) {
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i) {
      const std::int64_t place = row * kFeatures + i * kVectorWords;
      _mm512_storeu_si512(sums + place * kWordBytes, Word::bits(sum[row][i]));
    }
  }
}

template <class Word>
void multiply(const BlockRows& p) {
  forRowTiles<kRowTile>(p.rows,
                        [&]<int kRows>(std::int64_t row) { multiplyTile<Word, kRows>(p, row); });
}

}  // namespace

const BlockKernel* dotKernel(DType dtype) {
  static constexpr BlockKernel kBFloat16{kFeatures, RowForm::bfloat16Pairs, multiply<Pairs>};
  static constexpr BlockKernel kInt8{kFeatures, RowForm::unsignedBytes, multiply<Bytes>};
  const InstructionSet set = instructionSet();
  if (dtype == DType::bfloat16 && set >= InstructionSet::avx512Bf16) return &kBFloat16;
  if (dtype == DType::int8 && set >= InstructionSet::avx512Vnni) return &kInt8;
  return nullptr;
}

}  // namespace wgqa::cpu

#elif defined(__aarch64__)

#include <arm_neon.h>

#include "ops/cpu/row_tiles.h"

#define WGQA_DOT_TARGET __attribute__((target("arch=armv8.2-a+dotprod")))

namespace wgqa::cpu {
namespace {

// As many as leave every sum in a register.
constexpr int kVectors = 4;
constexpr int kVectorWords = 4;
constexpr int kFeatures = kVectors * kVectorWords;
constexpr int kRowTile = 6;

template <int kRows>
WGQA_DOT_TARGET void multiplyTile(const BlockRows& p, std::int64_t firstRow) {
  int32x4_t sum[kRows][kVectors] = {};
  const auto* x = reinterpret_cast<const std::int8_t*>(p.x + firstRow * p.xStride);
  const auto* weight = reinterpret_cast<const std::int8_t*>(p.weight);
  for (std::int64_t k = 0; k < p.words; ++k, x += kWordBytes, weight += kFeatures * kWordBytes) {
    int8x16_t w[kVectors];
    for (int i = 0; i < kVectors; ++i) w[i] = vld1q_s8(weight + i * kVectorWords * kWordBytes);
    for (int row = 0; row < kRows; ++row) {
      const auto* word = reinterpret_cast<const std::int32_t*>(x + row * p.xStride);
      const int8x16_t own = vreinterpretq_s8_s32(vld1q_dup_s32(word));
      for (int i = 0; i < kVectors; ++i) sum[row][i] = vdotq_s32(sum[row][i], own, w[i]);
    }
  }
  auto* sums = static_cast<std::int32_t*>(p.sums) + firstRow * kFeatures;
  for (int row = 0; row < kRows; ++row) {
    for (int i = 0; i < kVectors; ++i) {
      vst1q_s32(sums + row * kFeatures + i * kVectorWords, sum[row][i]);
    }
  }
}

void multiply(const BlockRows& p) {
  forRowTiles<kRowTile>(p.rows, [&]<int kRows>(std::int64_t row) { multiplyTile<kRows>(p, row); });
}

}  // namespace

const BlockKernel* dotKernel(DType dtype) {
  static constexpr BlockKernel kInt8{kFeatures, RowForm::signedBytes, multiply};
  const bool has = instructionSet() >= InstructionSet::dotProduct;
  return dtype == DType::int8 && has ? &kInt8 : nullptr;
}

}  // namespace wgqa::cpu

#else

namespace wgqa::cpu {

const BlockKernel* dotKernel(DType) { return nullptr; }

}  // namespace wgqa::cpu

#endif
