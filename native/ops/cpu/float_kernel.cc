#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/float_kernel.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include <algorithm>
#include <cstring>

#include "ops/cpu/block_kernel.h"
#include "ops/cpu/row_tiles.h"
#include "ops/cpu/tile_math_inl.h"
#include "ops/cpu/tile_matmul_inl.h"

HWY_BEFORE_NAMESPACE();
namespace wgqa::cpu::HWY_NAMESPACE {

using WordTag = hn::RebindToUnsigned<FloatTag>;
using WordVector = hn::Vec<WordTag>;

// Vectors of a block, and rows of x that are multiplied at a time: as many as leave every sum in a
// register.
constexpr int kVectors = 4;
constexpr int kRowTile = kVectorRegisters == 32 ? 6 : 3;
constexpr int kFeatures = kVectors * kLanes;

// Sums over so many words are added up before the next ones: fewer roundings of large sums.
constexpr std::int64_t kPartWords = 256;

// One word of x for every lane, and a vector of the weight's words, as the floats that they hold.
struct OneFloat {
  static HWY_INLINE FloatVector of(WordVector words, int) { return hn::BitCast(FloatTag(), words); }
  static constexpr int kFloats = 1;
};

struct TwoBFloat16 {
  static HWY_INLINE FloatVector of(WordVector words, int index) {
    const WordTag d;
    return hn::BitCast(FloatTag(), index == 0 ? hn::ShiftLeft<16>(words)
                                              : hn::And(words, hn::Set(d, 0xffff0000u)));
  }
  static constexpr int kFloats = 2;
};

HWY_INLINE WordVector wordForAll(const std::byte* x) {
  std::uint32_t word;
  std::memcpy(&word, x, sizeof word);
  return hn::Set(WordTag(), word);
}

// Adds words [begin, end) of kRows rows to their sums.
template <class Word, int kRows>
HWY_INLINE void addPart(const BlockRows& p, std::int64_t firstRow, std::int64_t begin,
                        std::int64_t end, float* sums) {
  const FloatTag d;
  const WordTag words;
  FloatVector sum[kRows][kVectors];
  HWY_UNROLL(8)
  for (int row = 0; row < kRows; ++row) {
    HWY_UNROLL(4)
    for (int i = 0; i < kVectors; ++i) sum[row][i] = hn::Zero(d);
  }
  const std::byte* x = p.x + firstRow * p.xStride + begin * kWordBytes;
  const auto* weight = reinterpret_cast<const std::uint32_t*>(p.weight) + begin * kFeatures;
  for (std::int64_t k = begin; k < end; ++k, x += kWordBytes, weight += kFeatures) {
    WordVector own[kRows];
    HWY_UNROLL(8)
    for (int row = 0; row < kRows; ++row) own[row] = wordForAll(x + row * p.xStride);
    HWY_UNROLL(4)
    for (int i = 0; i < kVectors; ++i) {
      const WordVector loaded = hn::LoadU(words, weight + i * kLanes);
      HWY_UNROLL(2)
      for (int index = 0; index < Word::kFloats; ++index) {
        const FloatVector value = Word::of(loaded, index);
        HWY_UNROLL(8)
        for (int row = 0; row < kRows; ++row) {
          sum[row][i] = hn::MulAdd(Word::of(own[row], index), value, sum[row][i]);
        }
      }
    }
  }
  HWY_UNROLL(8)
  for (int row = 0; row < kRows; ++row) {
    HWY_UNROLL(4)
    for (int i = 0; i < kVectors; ++i) {
      float* to = sums + row * kFeatures + i * kLanes;
      hn::StoreU(begin == 0 ? sum[row][i] : hn::Add(hn::LoadU(d, to), sum[row][i]), d, to);
    }
  }
}

template <class Word>
void multiply(const BlockRows& p) {
  forRowTiles<kRowTile>(p.rows, [&]<int kRows>(std::int64_t row) HWY_ATTR {
    std::int64_t begin = 0;
    do {
      const std::int64_t end = std::min(begin + kPartWords, p.words);
      addPart<Word, kRows>(p, row, begin, end, static_cast<float*>(p.sums) + row * kFeatures);
      begin = end;
    } while (begin < p.words);
  });
}

const BlockKernel* kernelOf(DType dtype) {
  static constexpr BlockKernel kFloat32{kFeatures, multiply<OneFloat>};
  static constexpr BlockKernel kBFloat16{kFeatures, multiply<TwoBFloat16>};
  return dtype == DType::float32 ? &kFloat32 : &kBFloat16;
}

}  // namespace wgqa::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wgqa::cpu {
namespace {
HWY_EXPORT(kernelOf);
}  // namespace

const BlockKernel* floatKernel(DType dtype) { return HWY_DYNAMIC_DISPATCH(kernelOf)(dtype); }

}  // namespace wgqa::cpu
#endif
