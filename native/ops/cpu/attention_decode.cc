#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/attention_decode.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include <functional>

#include "base/parallel.h"
#include "ops/cpu/attention.h"
#include "ops/cpu/attention_plan.h"
#include "ops/cpu/attention_rows_inl.h"
#include "ops/cpu/tile_matmul_inl.h"

HWY_BEFORE_NAMESPACE();
namespace wgqa::cpu::HWY_NAMESPACE {

// Scores are computed for a few heads and four keys at a time, in as many registers.
constexpr int kScoreKeys = 4;
constexpr int kScoreHeads = kVectorRegisters / 8;
// The last group of keys may write past the tile.
constexpr int kScoreStride = kTileKeys + kScoreKeys;

// scores[head][key] = q[head] . keys[key] for `rows` keys. Rows of q and keys hold `width` floats.
template <int kHeads>
void scoreHeads(const float* q, const float* keys, int rows, int width, float* scores) {
  const FloatTag d;
  for (int row = 0; row < rows; row += kScoreKeys) {
    const float* key[kScoreKeys];
    for (int i = 0; i < kScoreKeys; ++i) {
      key[i] = keys + static_cast<std::ptrdiff_t>(std::min(row + i, rows - 1)) * width;
    }
    FloatVector sum[kHeads][kScoreKeys];
    HWY_UNROLL(8)
    for (int head = 0; head < kHeads; ++head) {
      HWY_UNROLL(8)
      for (int i = 0; i < kScoreKeys; ++i) sum[head][i] = hn::Zero(d);
    }
    for (int column = 0; column < width; column += kLanes) {
      FloatVector part[kScoreKeys];
      HWY_UNROLL(8)
      for (int i = 0; i < kScoreKeys; ++i) part[i] = hn::LoadU(d, key[i] + column);
      HWY_UNROLL(8)
      for (int head = 0; head < kHeads; ++head) {
        const auto query = hn::LoadU(d, q + head * width + column);
        HWY_UNROLL(8)
        for (int i = 0; i < kScoreKeys; ++i) {
          sum[head][i] = hn::MulAdd(query, part[i], sum[head][i]);
        }
      }
    }
    HWY_UNROLL(8)
    for (int head = 0; head < kHeads; ++head) {
      storeSums(sum[head][0], sum[head][1], sum[head][2], sum[head][3],
                scores + head * kScoreStride + row);
    }
  }
}

void scoreKeys(const float* q, int heads, const float* keys, int rows, int width, float* scores) {
  int head = 0;
  for (; head + kScoreHeads <= heads; head += kScoreHeads) {
    scoreHeads<kScoreHeads>(q + head * width, keys, rows, width, scores + head * kScoreStride);
  }
  for (; head < heads; ++head) {
    scoreHeads<1>(q + head * width, keys, rows, width, scores + head * kScoreStride);
  }
}

// A tile of keys or values is fetched while the tile before it is computed with: too much for the
// first cache, which also has fewer outstanding misses than the second.
constexpr int kIntoSecondCache = 2;
constexpr int kLineBytes = 64;

class Decode {
 public:
  Decode(const AttentionDecode& p, const DistanceBias& bias, const DecodeChunks& plan,
         Scratch& scratch)
      : p_(p),
        bias_(bias),
        plan_(plan),
        heads_(static_cast<int>(p.q.shape[1])),
        kvHeads_(static_cast<int>(p.cache.keys.shape[1])),
        blockTokens_(static_cast<int>(p.cache.keys.shape[2])),
        headDim_(static_cast<int>(p.q.shape[2])),
        width_(roundUpToLanes(headDim_)),
        partials_(scratch.shared<float>(
            SharedScratch::fourth, static_cast<std::size_t>(plan_.partials) * partialStride())) {}

  std::size_t scratchFloats() const {
    ScratchCarver carver(nullptr);
    carve(carver);
    return carver.used();
  }

  void run(const DecodeChunk& chunk, float* scratch) const {
    ScratchCarver carver(scratch);
    const Tiles tiles = carve(carver);
    load(chunk, tiles);
    const int end = chunk.firstKey + chunk.keys;
    prefetch(chunk, p_.cache.keys, chunk.firstKey, std::min(kTileKeys, chunk.keys));
    for (int key = chunk.firstKey; key < end; key += kTileKeys) {
      attend(chunk, key, std::min(kTileKeys, end - key), tiles);
    }
    if (chunk.siblings == 1) {
      for (int i = 0; i < chunk.group.count; ++i) {
        finish(chunk.sequence, chunk.group.first + i, sumOfRow(tiles.sums + i * kLanes),
               tiles.output + i * width_);
      }
    } else {
      savePartial(chunk, tiles);
    }
  }

  /// Joins the chunks of one sequence and K/V head, of which `first` is the first, in key order.
  void combine(const DecodeChunk& first) const {
    for (int i = 0; i < first.group.count; ++i) {
      float* joined = partial(first, i);
      for (int sibling = 1; sibling < first.siblings; ++sibling) {
        join(joined, partial(first, sibling * first.group.count + i));
      }
      finish(first.sequence, first.group.first + i, joined[1], joined + kPartialHeader);
    }
  }

 private:
  // One task's working memory.
  struct Tiles {
    float* q;       // [group, width], scaled
    float* output;  // [group, width]
    float* maxima;  // [group]
    float* sums;    // [group, kLanes]
    float* scores;  // [group, kScoreStride]
    float* rows;    // [kTileKeys, width] keys or values that cannot be read in place
  };

  // A partial state is the maximum, the sum, and the unnormalised output.
  static constexpr int kPartialHeader = 16;

  std::size_t partialStride() const { return kPartialHeader + width_; }
  float* partial(const DecodeChunk& chunk, int head) const {
    return partials_ + static_cast<std::size_t>(chunk.partial + head) * partialStride();
  }

  Tiles carve(ScratchCarver& carver) const {
    const auto group = static_cast<std::size_t>(plan_.maxGroup);
    return {.q = carver.take(group * width_),
            .output = carver.take(group * width_),
            .maxima = carver.take(group),
            .sums = carver.take(group * kLanes),
            .scores = carver.take(group * kScoreStride),
            .rows = carver.take(static_cast<std::size_t>(kTileKeys) * width_)};
  }

  void load(const DecodeChunk& chunk, const Tiles& tiles) const {
    const std::int64_t row = std::int64_t{chunk.sequence} * heads_ + chunk.group.first;
    const int count = chunk.group.count;
    packRows(p_.q.as<float>() + row * headDim_, headDim_, count, headDim_, tiles.q, width_);
    if (p_.scale != 1.0f) scaleRow(tiles.q, count * width_, p_.scale);
    std::fill(tiles.output, tiles.output + count * width_, 0.0f);
    std::fill(tiles.maxima, tiles.maxima + count, kNoScore);
    std::fill(tiles.sums, tiles.sums + count * kLanes, 0.0f);
  }

  // Keys [firstKey, firstKey + keys) of the sequence.
  void attend(const DecodeChunk& chunk, int firstKey, int keys, const Tiles& tiles) const {
    forEachRun(chunk, p_.cache.keys, firstKey, keys, tiles,
               [&](const float* rows, int begin, int count) HWY_ATTR {
                 prefetch(chunk, p_.cache.values, firstKey + begin, count);
                 scoreKeys(tiles.q, chunk.group.count, rows, count, width_, tiles.scores + begin);
               });
    const int position = p_.cache.lengths[chunk.sequence] - 1;
    for (int i = 0; i < chunk.group.count; ++i) {
      const SoftmaxRow state{.maximum = tiles.maxima + i,
                             .sums = tiles.sums + i * kLanes,
                             .output = tiles.output + i * width_,
                             .outputSize = width_};
      softmaxTileRow(tiles.scores + i * kScoreStride,
                     bias_.at(chunk.group.first + i, firstKey, position), keys, keys, state);
    }
    forEachRun(chunk, p_.cache.values, firstKey, keys, tiles,
               [&](const float* rows, int begin, int count) HWY_ATTR {
                 prefetch(chunk, p_.cache.keys, firstKey + keys + begin, count);
                 tileMatmul({.a = tiles.scores + begin,
                             .aRowStride = kScoreStride,
                             .b = rows,
                             .bStride = width_,
                             .c = tiles.output,
                             .cStride = width_,
                             .rows = chunk.group.count,
                             .columns = width_,
                             .depth = count,
                             .add = true});
               });
  }

  // Where the cache holds a key, in rows of headDim elements.
  std::int64_t rowOf(const DecodeChunk& chunk, int key) const {
    const std::int32_t block =
        p_.cache.blockTable[p_.cache.tableOffsets[chunk.sequence] + key / blockTokens_];
    return (std::int64_t{block} * kvHeads_ + chunk.kvHead) * blockTokens_ + key % blockTokens_;
  }

  // Calls visit(rows, begin, count) for the runs of keys [firstKey, firstKey + keys) that lie in
  // one block each; rows are `width` floats apart, begin counts from firstKey.
  template <typename Visit>
  void forEachRun(const DecodeChunk& chunk, const ConstTensorView& cache, int firstKey, int keys,
                  const Tiles& tiles, const Visit& visit) const {
    for (int begin = 0; begin < keys;) {
      const int key = firstKey + begin;
      const int count = std::min(keys - begin, blockTokens_ - key % blockTokens_);
      visit(rowsAt(cache, rowOf(chunk, key) * headDim_, count, tiles), begin, count);
      begin += count;
    }
  }

  // Asks for rows of keys [firstKey, firstKey + keys), as far as the chunk has them: blocks lie
  // anywhere, so the hardware cannot foresee them.
  // Inlined always: GCC takes a function that only prefetches for one without effect.
  HWY_INLINE void prefetch(const DecodeChunk& chunk, const ConstTensorView& cache, int firstKey,
                           int keys) const {
    const int end = std::min(firstKey + keys, chunk.firstKey + chunk.keys);
    const std::int64_t rowBytes = headDim_ * static_cast<std::int64_t>(bytesOf(cache.dtype));
    while (firstKey < end) {
      const int count = std::min(end - firstKey, blockTokens_ - firstKey % blockTokens_);
      const auto* rows = cache.as<char>() + rowOf(chunk, firstKey) * rowBytes;
      for (std::int64_t byte = 0; byte < count * rowBytes; byte += kLineBytes) {
        __builtin_prefetch(rows + byte, 0, kIntoSecondCache);
      }
      firstKey += count;
    }
  }

  // Rows of the cache as padded floats: where they lie if they are that already, else a copy.
  const float* rowsAt(const ConstTensorView& cache, std::int64_t start, int count,
                      const Tiles& tiles) const {
    if (cache.dtype == DType::bfloat16) {
      packRows(cache.as<BFloat16>() + start, headDim_, count, headDim_, tiles.rows, width_);
      return tiles.rows;
    }
    if (headDim_ == width_) return cache.as<float>() + start;
    packRows(cache.as<float>() + start, headDim_, count, headDim_, tiles.rows, width_);
    return tiles.rows;
  }

  void savePartial(const DecodeChunk& chunk, const Tiles& tiles) const {
    for (int i = 0; i < chunk.group.count; ++i) {
      float* state = partial(chunk, i);
      state[0] = tiles.maxima[i];
      state[1] = sumOfRow(tiles.sums + i * kLanes);
      copyRow(tiles.output + i * width_, width_, state + kPartialHeader);
    }
  }

  void join(float* joined, const float* other) const {
    const FloatTag d;
    const float maximum = std::max(joined[0], other[0]);
    if (maximum == kNoScore) return;
    const float mine = std::exp(joined[0] - maximum);
    const float theirs = std::exp(other[0] - maximum);
    joined[0] = maximum;
    joined[1] = joined[1] * mine + other[1] * theirs;
    const auto weight = hn::Set(d, theirs);
    scaleRow(joined + kPartialHeader, width_, mine);
    for (int i = kPartialHeader; i < kPartialHeader + width_; i += kLanes) {
      hn::StoreU(hn::MulAdd(hn::LoadU(d, other + i), weight, hn::LoadU(d, joined + i)), d,
                 joined + i);
    }
  }

  void finish(int sequence, int head, float sum, float* output) const {
    scaleRow(output, width_, sum == 0.0f ? 0.0f : 1.0f / sum);
    writeOutput(output, headDim_, p_.out, std::int64_t{sequence} * heads_ + head);
  }

  const AttentionDecode& p_;
  const DistanceBias& bias_;
  const DecodeChunks& plan_;
  int heads_;
  int kvHeads_;
  int blockTokens_;
  int headDim_;
  int width_;
  float* partials_;
};

// Elements of keys and values that are worth starting other threads for.
constexpr std::int64_t kParallelElements = 1 << 15;

void decode(const AttentionDecode& p, const DistanceBias& bias, const DecodeChunks& plan,
            Scratch& scratch) {
  const Decode kernel(p, bias, plan, scratch);
  const ThreadSlices<float> slices =
      scratch.perThread<float>(threadCount(), kernel.scratchFloats());
  const auto task = [&](std::int64_t index, int thread) {
    kernel.run(plan.chunks[index], slices.of(thread));
  };
  const auto count = static_cast<std::int64_t>(plan.chunks.size());
  if (plan.keys * p.cache.keys.shape[3] < kParallelElements) {
    for (std::int64_t index = 0; index < count; ++index) task(index, 0);
  } else {
    parallelTasks(count, std::cref(task));
  }
  if (plan.partials == 0) return;
  const auto combine = [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t index = begin; index < end; ++index) {
      const DecodeChunk& chunk = plan.chunks[index];
      if (chunk.index == 0 && chunk.siblings > 1) kernel.combine(chunk);
    }
  };
  constexpr std::int64_t kCombineGrain = 64;
  parallelFor(count, kCombineGrain, std::cref(combine));
}

}  // namespace wgqa::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wgqa::cpu {

HWY_EXPORT(decode);

void attentionDecode(const AttentionDecode& p, Scratch& scratch) {
  if (p.cache.lengths.empty()) return;
  const std::int64_t maxKeys = std::ranges::max(p.cache.lengths);
  DistanceBias bias;
  if (p.bias.given()) {
    const BucketTable buckets(p.bias, maxKeys, scratch, SharedScratch::second);
    bias = DistanceBias(p.bias, buckets, maxKeys, 1, scratch, SharedScratch::third);
  }
  const DecodeChunks plan = decodeChunks(p, scratch, SharedScratch::first);
  HWY_DYNAMIC_DISPATCH(decode)(p, bias, plan, scratch);
}

}  // namespace wgqa::cpu
#endif
