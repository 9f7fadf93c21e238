// What the attention kernels do with single rows: the online softmax (Milakov & Gimelshein 2018),
// dropout, reading and writing. Included once per Highway target.
#if defined(WGQA_OPS_CPU_ATTENTION_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef WGQA_OPS_CPU_ATTENTION_ROWS_INL_H_
#undef WGQA_OPS_CPU_ATTENTION_ROWS_INL_H_
#else
#define WGQA_OPS_CPU_ATTENTION_ROWS_INL_H_
#endif

#include <cmath>
#include <limits>

#include "ops/cpu/attention_plan.h"
#include "ops/cpu/tile_math_inl.h"
#include "ops/cpu/tile_philox_inl.h"
#include "ops/ops.h"

HWY_BEFORE_NAMESPACE();
namespace wgqa::cpu::HWY_NAMESPACE {

inline constexpr float kNoScore = -std::numeric_limits<float>::infinity();

/// One row's state over the key tiles seen so far.
struct SoftmaxRow {
  float* maximum = nullptr;  // the largest score, kNoScore at the start
  float* sums = nullptr;     // kLanes partial sums of exp(score - maximum)
  float* output = nullptr;   // sum of exp(score - maximum) * value, padded to whole vectors
  int outputSize = 0;
};

/// The largest of `count` scores with their bias, if there is one.
HWY_INLINE float largestScore(const float* scores, const float* bias, int count) {
  const FloatTag d;
  const auto none = hn::Set(d, kNoScore);
  auto largest = none;
  for (int i = 0; i < count; i += kLanes) {
    auto score = hn::LoadU(d, scores + i);
    if (bias != nullptr) score = hn::Add(score, hn::LoadU(d, bias + i));
    if (i + kLanes > count) score = hn::IfThenElse(hn::FirstN(d, count - i), score, none);
    largest = hn::Max(largest, score);
  }
  return hn::GetLane(hn::MaxOfLanes(d, largest));
}

/// exp(score + bias - shift) of one vector. The shift is taken off first: that is exact where the
/// result matters, while a bias added to a large score would lose its last bits.
HWY_INLINE FloatVector shiftedExp(const float* score, const float* bias, FloatVector shift) {
  const FloatTag d;
  auto shifted = hn::Sub(hn::LoadU(d, score), shift);
  if (bias != nullptr) shifted = hn::Add(shifted, hn::LoadU(d, bias));
  return expOfScore(shifted);
}

/// Turns `count` scores of a tile into exp(score + bias - maximum) and updates the state; scores
/// from `count` up to `width` become 0.
inline void softmaxTileRow(float* scores, const float* bias, int count, int width,
                           const SoftmaxRow& row) {
  const FloatTag d;
  const float largest = count > 0 ? largestScore(scores, bias, count) : kNoScore;
  if (largest == kNoScore) return std::fill(scores, scores + width, 0.0f);
  if (!(largest <= *row.maximum)) {
    if (*row.maximum != kNoScore) {
      const float factor = std::exp(*row.maximum - largest);
      scaleRow(row.sums, kLanes, factor);
      scaleRow(row.output, row.outputSize, factor);
    }
    *row.maximum = largest;
  }
  const auto maximum = hn::Set(d, *row.maximum);
  auto sums = hn::LoadU(d, row.sums);
  int i = 0;
  for (; i < count; i += kLanes) {
    auto weight = shiftedExp(scores + i, bias == nullptr ? nullptr : bias + i, maximum);
    if (i + kLanes > count) weight = hn::IfThenElseZero(hn::FirstN(d, count - i), weight);
    sums = hn::Add(sums, weight);
    hn::StoreU(weight, d, scores + i);
  }
  hn::StoreU(sums, d, row.sums);
  if (i < width) std::fill(scores + i, scores + width, 0.0f);
}

inline float sumOfRow(const float* sums) {
  const FloatTag d;
  return hn::GetLane(hn::SumOfLanes(d, hn::LoadU(d, sums)));
}

/// What dropout multiplies the probabilities of keys [firstKey, firstKey + count) of one row by;
/// factors are written in steps of kRandomStep.
inline void dropoutFactors(const DropoutSpec& dropout, std::uint32_t row, int firstKey, int count,
                           float* factors) {
  const FloatTag d;
  const hn::RebindToUnsigned<FloatTag> du;
  const auto threshold = hn::Set(du, dropout.threshold());
  const auto kept = hn::Set(d, 1.0f / (1.0f - dropout.rate));
  HWY_ALIGN std::uint32_t words[kRandomStep];
  for (int begin = 0; begin < count; begin += kRandomStep) {
    randomWords(dropout.random, row, static_cast<std::uint32_t>(firstKey + begin), words);
    for (int i = 0; i < kRandomStep; i += kLanes) {
      const auto dropped = hn::RebindMask(d, hn::Lt(hn::Load(du, words + i), threshold));
      hn::StoreU(hn::IfThenZeroElse(dropped, kept), d, factors + begin + i);
    }
  }
}

inline void multiplyRow(float* row, const float* factors, int count) {
  const FloatTag d;
  for (int i = 0; i < count; i += kLanes) {
    hn::StoreU(hn::Mul(hn::LoadU(d, row + i), hn::LoadU(d, factors + i)), d, row + i);
  }
}

template <typename T>
void packChunkOf(const ConstTensorView& from, const RaggedOffsets& queries, const QueryChunk& chunk,
                 float* to, int width) {
  const std::int64_t heads = from.shape[1];
  const std::int64_t headDim = from.shape[2];
  const std::int64_t token = queries.offsets[chunk.sequence] + chunk.firstQuery;
  const T* rows = from.as<T>() + (token * heads + chunk.group.first) * headDim;
  for (int query = 0; query < chunk.queries; ++query) {
    packRows(rows, headDim, chunk.group.count, static_cast<int>(headDim), to, width);
    rows += heads * headDim;
    to += static_cast<std::ptrdiff_t>(chunk.group.count) * width;
  }
}

/// Copies the rows of a chunk out of a [queryTokens, heads, headDim] tensor, float32 or bfloat16;
/// rows of `to` are padded with zeros to `width`.
inline void packChunk(const ConstTensorView& from, const RaggedOffsets& queries,
                      const QueryChunk& chunk, float* to, int width) {
  if (from.dtype == DType::bfloat16) {
    packChunkOf<BFloat16>(from, queries, chunk, to, width);
  } else {
    packChunkOf<float>(from, queries, chunk, to, width);
  }
}

/// Rounds one row to the type of `out`, a dense tensor whose rows hold `headDim` elements.
inline void writeOutput(const float* output, int headDim, const TensorView& out, std::int64_t row) {
  if (out.dtype == DType::bfloat16) {
    copyRow(output, headDim, out.as<BFloat16>() + row * headDim);
  } else {
    copyRow(output, headDim, out.as<float>() + row * headDim);
  }
}

}  // namespace wgqa::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
