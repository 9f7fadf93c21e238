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

// Scores are computed for a few heads and four keys at a time, in as many registers; values are
// added for as many heads at a time.
constexpr int kScoreKeys = 4;
constexpr int kHeadsAtOnce = kVectorRegisters / 8;
// The last group of keys may write past the tile.
constexpr int kScoreStride = kTileKeys + kScoreKeys;
// Vectors of a value that are added at a time.
constexpr int kValueVectors = 4;

// scores[head][key] = q[head] . keys[key] for `rows` keys. Rows of q and keys have `width`
// elements.
template <int kHeads, typename T>
void scoreHeads(const float* q, const T* keys, int rows, int width, float* scores) {
  const FloatTag d;
  for (int row = 0; row < rows; row += kScoreKeys) {
    const T* key[kScoreKeys];
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
      for (int i = 0; i < kScoreKeys; ++i) part[i] = widened(key[i] + column);
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

// output[head] += the sum over `rows` keys of weights[head][key] * values[key], kVectors vectors of
// it.
template <int kHeads, int kVectors, typename T>
HWY_INLINE void addValueVectors(const float* weights, const T* values, int rows, int width,
                                float* output) {
  const FloatTag d;
  FloatVector sum[kHeads][kVectors];
  HWY_UNROLL(8)
  for (int head = 0; head < kHeads; ++head) {
    HWY_UNROLL(8)
    for (int i = 0; i < kVectors; ++i)
      sum[head][i] = hn::LoadU(d, output + head * width + i * kLanes);
  }
  for (int row = 0; row < rows; ++row, values += width) {
    FloatVector part[kVectors];
    HWY_UNROLL(8)
    for (int i = 0; i < kVectors; ++i) part[i] = widened(values + i * kLanes);
    HWY_UNROLL(8)
    for (int head = 0; head < kHeads; ++head) {
      const auto weight = hn::Set(d, weights[head * kScoreStride + row]);
      HWY_UNROLL(8)
      for (int i = 0; i < kVectors; ++i) sum[head][i] = hn::MulAdd(weight, part[i], sum[head][i]);
    }
  }
  HWY_UNROLL(8)
  for (int head = 0; head < kHeads; ++head) {
    HWY_UNROLL(8)
    for (int i = 0; i < kVectors; ++i)
      hn::StoreU(sum[head][i], d, output + head * width + i * kLanes);
  }
}

template <int kHeads, typename T>
void addValues(const float* weights, const T* values, int rows, int width, float* output) {
  int column = 0;
  for (; column + kValueVectors * kLanes <= width; column += kValueVectors * kLanes) {
    addValueVectors<kHeads, kValueVectors>(weights, values + column, rows, width, output + column);
  }
  for (; column < width; column += kLanes) {
    addValueVectors<kHeads, 1>(weights, values + column, rows, width, output + column);
  }
}

// Calls visit.operator()<n>(firstHead) for heads [0, heads), n of them at a time.
template <typename Visit>
HWY_INLINE void forHeadsAtOnce(int heads, const Visit& visit) {
  int head = 0;
  for (; head + kHeadsAtOnce <= heads; head += kHeadsAtOnce) {
    visit.template operator()<kHeadsAtOnce>(head);
  }
  if constexpr (kHeadsAtOnce > 2) {
    for (; head + 2 <= heads; head += 2) visit.template operator()<2>(head);
  }
  for (; head < heads; ++head) visit.template operator()<1>(head);
}

// A tile of keys or values is fetched while the tile before it is computed with. It is as large as
// the first cache, and still comes sooner than if it were fetched into the second alone.
constexpr int kIntoFirstCache = 3;
constexpr int kLineBytes = 64;

class Decode {
 public:
  Decode(const AttentionDecode& p, const DistanceBias& bias, const DecodeChunks& plan,
         Scratch& scratch)
      : p_(p),
        bias_(bias),
        plan_(plan),
        heads_(static_cast<int>(p.q.shape[1])),
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
    // Heads in turn for each tile of keys: that reads a block from its start to its end.
    Step step{chunk.firstKvHead, chunk.firstKey, std::min(kTileKeys, chunk.keys)};
    prefetch(chunk, p_.cache.keys, step.kvHead, step.firstKey, step.keys);
    for (Step next; step.keys > 0; step = next) {
      next = following(chunk, step);
      attend(chunk, step, next, tiles);
    }
    for (int head = 0; head < heads_; ++head) {
      if (!holds(chunk, p_.kvHeadOf[head])) continue;
      const float sum = sumOfRow(tiles.sums + head * kLanes);
      float* output = tiles.output + head * width_;
      if (chunk.siblings == 1) {
        finish(chunk.sequence, head, sum, output);
      } else {
        savePartial(partial(chunk, 0, head), tiles.maxima[head], sum, output);
      }
    }
  }

  /// Joins the key chunks of one sequence, of which `first` is the first, in the order of the keys.
  void combine(const DecodeChunk& first) const {
    for (int head = 0; head < heads_; ++head) {
      if (!holds(first, p_.kvHeadOf[head])) continue;
      float* joined = partial(first, 0, head);
      for (int sibling = 1; sibling < first.siblings; ++sibling) {
        join(joined, partial(first, sibling, head));
      }
      finish(first.sequence, head, joined[1], joined + kPartialHeader);
    }
  }

 private:
  // One task's working memory. Rows are those of all query heads; a task uses its own.
  struct Tiles {
    float* q;       // [heads, width], scaled
    float* output;  // [heads, width]
    float* maxima;  // [heads]
    float* sums;    // [heads, kLanes]
    float* scores;  // [heads, kScoreStride]
    float* rows;    // [kTileKeys, width] keys or values that are not read in place
  };

  // A tile of keys for one K/V head; no keys: the end.
  struct Step {
    int kvHead = 0;
    int firstKey = 0;
    int keys = 0;
  };

  // A partial state is the maximum, the sum, and the unnormalised output.
  static constexpr int kPartialHeader = 16;

  std::size_t partialStride() const { return kPartialHeader + width_; }
  float* partial(const DecodeChunk& chunk, int sibling, int head) const {
    const std::int64_t index = chunk.partial + std::int64_t{sibling} * heads_ + head;
    return partials_ + static_cast<std::size_t>(index) * partialStride();
  }

  static bool holds(const DecodeChunk& chunk, int kvHead) {
    return kvHead >= chunk.firstKvHead && kvHead < chunk.firstKvHead + chunk.kvHeads;
  }

  Tiles carve(ScratchCarver& carver) const {
    const auto heads = static_cast<std::size_t>(heads_);
    return {.q = carver.take(heads * width_),
            .output = carver.take(heads * width_),
            .maxima = carver.take(heads),
            .sums = carver.take(heads * kLanes),
            .scores = carver.take(heads * kScoreStride),
            .rows = carver.take(static_cast<std::size_t>(kTileKeys) * width_)};
  }

  void load(const DecodeChunk& chunk, const Tiles& tiles) const {
    const float* q = p_.q.as<float>() + std::int64_t{chunk.sequence} * heads_ * headDim_;
    packRows(q, headDim_, heads_, headDim_, tiles.q, width_);
    if (p_.scale != 1.0f) scaleRow(tiles.q, heads_ * width_, p_.scale);
    std::fill(tiles.output, tiles.output + heads_ * width_, 0.0f);
    std::fill(tiles.maxima, tiles.maxima + heads_, kNoScore);
    std::fill(tiles.sums, tiles.sums + heads_ * kLanes, 0.0f);
  }

  static Step following(const DecodeChunk& chunk, const Step& step) {
    if (holds(chunk, step.kvHead + 1)) return {step.kvHead + 1, step.firstKey, step.keys};
    const int firstKey = step.firstKey + step.keys;
    const int left = chunk.firstKey + chunk.keys - firstKey;
    return {chunk.firstKvHead, firstKey, std::min(kTileKeys, left)};
  }

  // One step; meanwhile its values and the keys of the next one are fetched.
  void attend(const DecodeChunk& chunk, const Step& step, const Step& next,
              const Tiles& tiles) const {
    const HeadGroup group = plan_.groups[step.kvHead];
    if (group.count == 0) return;
    const float* q = tiles.q + group.first * width_;
    float* scores = tiles.scores + group.first * kScoreStride;
    forEachRun(chunk, p_.cache.keys, step, tiles, [&](const auto* rows, int begin, int count) {
      prefetch(chunk, p_.cache.values, step.kvHead, step.firstKey + begin, count);
      forHeadsAtOnce(group.count, [&]<int kHeads>(int head) {
        scoreHeads<kHeads>(q + head * width_, rows, count, width_,
                           scores + head * kScoreStride + begin);
      });
    });
    const int position = p_.cache.lengths[chunk.sequence] - 1;
    for (int head = group.first; head < group.first + group.count; ++head) {
      const SoftmaxRow state{.maximum = tiles.maxima + head,
                             .sums = tiles.sums + head * kLanes,
                             .output = tiles.output + head * width_,
                             .outputSize = width_};
      softmaxTileRow(tiles.scores + head * kScoreStride, bias_.at(head, step.firstKey, position),
                     step.keys, step.keys, state);
    }
    float* output = tiles.output + group.first * width_;
    forEachRun(chunk, p_.cache.values, step, tiles, [&](const auto* rows, int begin, int count) {
      prefetch(chunk, p_.cache.keys, next.kvHead, next.firstKey + begin, count);
      forHeadsAtOnce(group.count, [&]<int kHeads>(int head) {
        addValues<kHeads>(scores + head * kScoreStride + begin, rows, count, width_,
                          output + head * width_);
      });
    });
  }

  // Where a key or value begins, in elements.
  std::int64_t offsetOf(const ConstTensorView& cache, const DecodeChunk& chunk, int kvHead,
                        int key) const {
    const std::int32_t block =
        p_.cache.blockTable[p_.cache.tableOffsets[chunk.sequence] + key / blockTokens_];
    return block * cache.strides[0] + kvHead * cache.strides[1] + key % blockTokens_ * headDim_;
  }

  // Calls visit(rows, begin, count) for the runs of the step's keys that lie in one block each;
  // rows are `width` elements apart, begin counts from the step's first key.
  template <typename Visit>
  void forEachRun(const DecodeChunk& chunk, const ConstTensorView& cache, const Step& step,
                  const Tiles& tiles, const Visit& visit) const {
    const bool isBFloat16 = cache.dtype == DType::bfloat16;
    // Widening a few times in registers is less work than once through memory.
    const bool inPlace =
        headDim_ == width_ && (!isBFloat16 || plan_.groups[step.kvHead].count <= 2 * kHeadsAtOnce);
    for (int begin = 0; begin < step.keys;) {
      const int key = step.firstKey + begin;
      const int count = std::min(step.keys - begin, blockTokens_ - key % blockTokens_);
      const std::int64_t start = offsetOf(cache, chunk, step.kvHead, key);
      if (!inPlace) {
        visit(copied(cache, start, count, tiles), begin, count);
      } else if (isBFloat16) {
        visit(cache.as<BFloat16>() + start, begin, count);
      } else {
        visit(cache.as<float>() + start, begin, count);
      }
      begin += count;
    }
  }

  // Asks for rows of keys [firstKey, firstKey + keys), as far as the chunk has them: blocks lie
  // anywhere, so the hardware cannot foresee them.
  // Inlined always: GCC takes a function that only prefetches for one without effect.
  HWY_INLINE void prefetch(const DecodeChunk& chunk, const ConstTensorView& cache, int kvHead,
                           int firstKey, int keys) const {
    const int end = std::min(firstKey + keys, chunk.firstKey + chunk.keys);
    const auto elementBytes = static_cast<std::int64_t>(bytesOf(cache.dtype));
    while (firstKey < end) {
      const int count = std::min(end - firstKey, blockTokens_ - firstKey % blockTokens_);
      const auto* rows = cache.as<char>() + offsetOf(cache, chunk, kvHead, firstKey) * elementBytes;
      const std::int64_t bytes = count * headDim_ * elementBytes;
      for (std::int64_t byte = 0; byte < bytes; byte += kLineBytes) {
        __builtin_prefetch(rows + byte, 0, kIntoFirstCache);
      }
      firstKey += count;
    }
  }

  // Rows of the cache as padded floats.
  const float* copied(const ConstTensorView& cache, std::int64_t start, int count,
                      const Tiles& tiles) const {
    if (cache.dtype == DType::bfloat16) {
      packRows(cache.as<BFloat16>() + start, headDim_, count, headDim_, tiles.rows, width_);
    } else {
      packRows(cache.as<float>() + start, headDim_, count, headDim_, tiles.rows, width_);
    }
    return tiles.rows;
  }

  void savePartial(float* state, float maximum, float sum, const float* output) const {
    state[0] = maximum;
    state[1] = sum;
    copyRow(output, width_, state + kPartialHeader);
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
  if (plan.rows * p.cache.keys.shape[3] < kParallelElements) {
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
  const DecodeChunks plan =
      decodeChunks(p, threadCount(), scratch, SharedScratch::first, SharedScratch::fifth);
  HWY_DYNAMIC_DISPATCH(decode)(p, bias, plan, scratch);
}

}  // namespace wgqa::cpu
#endif
