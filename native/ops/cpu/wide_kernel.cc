#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/wide_kernel.cc"
#include "hwy/cache_control.h"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include <algorithm>
#include <cstring>

#include "ops/cpu/block_kernel.h"
#include "ops/cpu/row_tiles.h"
#include "ops/cpu/tile_math_inl.h"
#include "ops/cpu/tile_matmul_inl.h"
#include "ops/cpu/wide_words_inl.h"

HWY_BEFORE_NAMESPACE();
namespace wgqa::cpu::HWY_NAMESPACE {

// Wide words of x and of each feature that are multiplied at a time: what they take of a block,
// once widened, stays in the first cache while all rows pass. It does not depend on the target: nor
// does the order of a row's sums.
constexpr std::int64_t kPartDepth = 128;

constexpr std::int64_t kLineBytes = 64;

/// A stretch of one block's depth, and what x has of it.
struct Part {
  const std::byte* x = nullptr;  // wide words
  std::int64_t xStride = 0;
  const std::byte* weight = nullptr;  // words, or wide words
  std::int64_t words = 0;             // of the weight as it lies
  const std::byte* ahead = nullptr;   // what is read after this part
  bool isFirst = true;                // of a block: sums are not added to those before
};

HWY_INLINE WordVector wordForAll(const std::byte* x) {
  std::uint32_t word;
  std::memcpy(&word, x, sizeof word);
  return hn::Set(WordTag(), word);
}

// Where wide words are: in a block, whose words are widened as they are read, or in a part that was
// widened before. A step reads kStepWords of a feature, and asks for kAheadLines of the next part:
// two tiles ask for all of it, or one.
template <class Word>
struct InBlock {
  static constexpr int kStepWords = Word::kWideWords;
  static constexpr std::int64_t kStep = Word::kVectors * kLanes;
  static constexpr std::int64_t kAheadBytes = kStep * kWordBytes;
  static HWY_INLINE WordVector load(const std::uint32_t* weight, int vector, int index) {
    return Word::widened(hn::LoadU(WordTag(), weight + vector * kLanes), index);
  }
};

template <class Word>
struct Widened {
  static constexpr int kStepWords = 1;
  static constexpr std::int64_t kStep = Word::kVectors * kLanes;
  static constexpr std::int64_t kAheadBytes = kStep * kWordBytes / Word::kWideWords;
  static HWY_INLINE WordVector load(const std::uint32_t* weight, int vector, int) {
    return hn::Load(WordTag(), weight + vector * kLanes);
  }
};

template <class Place>
constexpr std::int64_t aheadLines() {
  return std::max<std::int64_t>(1, Place::kAheadBytes / (2 * kLineBytes));
}

// Adds a part to the sums of kRows rows.
template <class Word, class Place, int kRows>
HWY_INLINE void addTile(const Part& part, std::int64_t firstRow, const std::byte* ahead,
                        void* blockSums) {
  constexpr int kVectors = Word::kVectors;
  constexpr std::int64_t kFeatures = kVectors * kLanes;
  typename Word::Sum sum[kRows][kVectors];
  HWY_UNROLL(8)
  for (int row = 0; row < kRows; ++row) {
    HWY_UNROLL(4)
    for (int i = 0; i < kVectors; ++i) sum[row][i] = Word::zero();
  }
  const std::byte* x = part.x + firstRow * part.xStride;
  const auto* weight = reinterpret_cast<const std::uint32_t*>(part.weight);
  const std::int64_t steps = part.words * Word::kWideWords / Place::kStepWords;
  for (std::int64_t step = 0; step < steps; ++step, weight += Place::kStep) {
    HWY_UNROLL(2)
    for (int line = 0; line < aheadLines<Place>(); ++line) hwy::Prefetch(ahead + line * kLineBytes);
    ahead += aheadLines<Place>() * kLineBytes;
    HWY_UNROLL(2)
    for (int index = 0; index < Place::kStepWords; ++index, x += kWordBytes) {
      WordVector value[kVectors];
      HWY_UNROLL(4)
      for (int i = 0; i < kVectors; ++i) value[i] = Place::load(weight, i, index);
      HWY_UNROLL(8)
      for (int row = 0; row < kRows; ++row) {
        const WordVector own = wordForAll(x + row * part.xStride);
        HWY_UNROLL(4)
        for (int i = 0; i < kVectors; ++i) {
          sum[row][i] = inOneRegister(Word::plusProduct(sum[row][i], own, value[i]));
        }
      }
    }
  }
  auto* sums = static_cast<std::byte*>(blockSums) + firstRow * kFeatures * kWordBytes;
  HWY_UNROLL(8)
  for (int row = 0; row < kRows; ++row) {
    HWY_UNROLL(4)
    for (int i = 0; i < kVectors; ++i, sums += kLanes * kWordBytes) {
      if (part.isFirst) {
        Word::store(sum[row][i], sums);
      } else {
        Word::add(sum[row][i], sums);
      }
    }
  }
}

template <class Word, class Place>
HWY_INLINE void addPart(const Part& part, std::int64_t rows, void* sums) {
  const std::int64_t steps = part.words * Word::kWideWords / Place::kStepWords;
  const std::int64_t share = steps * aheadLines<Place>() * kLineBytes;
  const std::int64_t asking = rows > kRowTile ? steps * Place::kAheadBytes : 0;
  std::int64_t asked = 0;
  forRowTiles<kRowTile>(rows, [&]<int kRows>(std::int64_t row) HWY_ATTR {
    // A tile that need not ask for anything asks for what it has.
    const std::byte* ahead = asked < asking ? part.ahead + asked : part.weight;
    addTile<Word, Place, kRows>(part, row, ahead, sums);
    asked += share;
  });
}

// Words of a block as the wide words that a kernel multiplies: first those of index 0 of all
// features, then those of index 1.
template <class Word>
HWY_INLINE void widen(const std::byte* weight, std::int64_t words, std::uint32_t* wide) {
  const WordTag d;
  const auto* from = reinterpret_cast<const std::uint32_t*>(weight);
  for (std::int64_t k = 0; k < words; ++k) {
    HWY_UNROLL(4)
    for (int i = 0; i < Word::kVectors; ++i, from += kLanes) {
      const WordVector loaded = hn::LoadU(d, from);
      HWY_UNROLL(2)
      for (int index = 0; index < Word::kWideWords; ++index) {
        hn::Store(Word::widened(loaded, index), d, wide + (index * Word::kVectors + i) * kLanes);
      }
    }
    wide += Word::kWideWords * Word::kVectors * kLanes;
  }
}

// Few rows widen what they read; for more, a part is widened once.
template <class Word>
void multiply(const BlockRows& p) {
  constexpr std::int64_t kPartWords = kPartDepth / Word::kWideWords;
  constexpr std::int64_t kStepBytes = Word::kVectors * kLanes * kWordBytes;
  HWY_ALIGN std::uint32_t wide[Word::kWideWords > 1 ? kPartDepth * Word::kVectors * kLanes : 1];
  for (std::int64_t begin = 0; begin == 0 || begin < p.words; begin += kPartWords) {
    const std::byte* weight = p.weight + begin * kStepBytes;
    Part part{.x = p.x + begin * Word::kWideWords * kWordBytes,
              .xStride = p.xStride,
              .weight = weight,
              .words = std::min(kPartWords, p.words - begin),
              .isFirst = begin == 0};
    part.ahead = weight + part.words * kStepBytes;
    if (Word::kWideWords > 1 && p.rows > kRowTile) {
      widen<Word>(weight, part.words, wide);
      part.weight = reinterpret_cast<const std::byte*>(wide);
      addPart<Word, Widened<Word>>(part, p.rows, p.sums);
    } else {
      addPart<Word, InBlock<Word>>(part, p.rows, p.sums);
    }
  }
}

template <class Word>
constexpr BlockKernel kernelFor(RowForm form) {
  return {Word::kVectors * kLanes, form, multiply<Word>};
}

const BlockKernel* kernelOf(DType dtype) {
  static constexpr BlockKernel kFloat32 = kernelFor<OneFloat>(RowForm::floats);
  static constexpr BlockKernel kBFloat16 = kernelFor<TwoBFloat16>(RowForm::floats);
  static constexpr BlockKernel kInt8 = kernelFor<FourBytes>(RowForm::shorts);
  return dtype == DType::float32 ? &kFloat32 : dtype == DType::bfloat16 ? &kBFloat16 : &kInt8;
}

}  // namespace wgqa::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wgqa::cpu {
namespace {
HWY_EXPORT(kernelOf);
}  // namespace

const BlockKernel& wideKernel(DType dtype) { return *HWY_DYNAMIC_DISPATCH(kernelOf)(dtype); }

}  // namespace wgqa::cpu
#endif
