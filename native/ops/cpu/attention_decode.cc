#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/attention_decode.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include <functional>

#include "base/parallel.h"
#include "ops/cpu/attention.h"
#include "ops/cpu/attention_plan.h"
#include "ops/cpu/attention_rows_inl.h"
#include "ops/cpu/row_tiles.h"
#include "ops/cpu/tile_matmul_inl.h"

HWY_BEFORE_NAMESPACE();
namespace wgqa::cpu::HWY_NAMESPACE {

// Most heads of a group that are taken at a time, as many as leave their sums in registers: of
// scores kParts of each, so that additions need not wait for each other, of values kValueVectors.
constexpr bool kHasManyRegisters = kVectorRegisters == 32;
constexpr int kScoreHeads = kHasManyRegisters ? 6 : 3;
constexpr int kParts = 4;
constexpr int kValueHeads = kHasManyRegisters ? 6 : 2;
constexpr int kValueVectors = 4;

// Keys whose softmax is taken together: as many as a block usually has, so that keys and values are
// read as they lie. Another number for other blocks would round differently.
constexpr int kDecodeTileKeys = 16;
static_assert(kDecodeTileKeys % kLanes == 0);

// Scores of a tile, and room for what a last vector has too many.
constexpr int kScoreStride = kDecodeTileKeys + kLanes;

// scores[head][key] = q[head] . keys[.][key] for `count` keys that lie transposed, `stride`
// elements between their components: a vector of keys meets one component of the query at a time,
// so that no sum goes across lanes. What lies behind the keys is read too, up to a whole vector.
template <int kHeads, typename T>
void scoreHeads(const float* q, int qStride, const T* keys, std::ptrdiff_t stride, int count,
                int headDim, float* scores) {
  const FloatTag d;
  for (int key = 0; key < count; key += kLanes) {
    FloatVector sum[kHeads][kParts];
    HWY_UNROLL(8)
    for (int head = 0; head < kHeads; ++head) {
      HWY_UNROLL(8)
      for (int part = 0; part < kParts; ++part) sum[head][part] = hn::Zero(d);
    }
    const T* at = keys + key;
    int i = 0;
    for (; i + kParts <= headDim; i += kParts) {
      HWY_UNROLL(8)
      for (int part = 0; part < kParts; ++part, at += stride) {
        const auto component = widened(at);
        HWY_UNROLL(8)
        for (int head = 0; head < kHeads; ++head) {
          const auto query = hn::Set(d, q[head * qStride + i + part]);
          sum[head][part] = hn::MulAdd(query, component, sum[head][part]);
        }
      }
    }
    for (; i < headDim; ++i, at += stride) {
      const auto component = widened(at);
      HWY_UNROLL(8)
      for (int head = 0; head < kHeads; ++head) {
        sum[head][0] = hn::MulAdd(hn::Set(d, q[head * qStride + i]), component, sum[head][0]);
      }
    }
    HWY_UNROLL(8)
    for (int head = 0; head < kHeads; ++head) {
      const auto even = hn::Add(sum[head][0], sum[head][2]);
      const auto odd = hn::Add(sum[head][1], sum[head][3]);
      hn::StoreU(hn::Add(even, odd), d, scores + head * kScoreStride + key);
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

// Heads' keys and values of a block lie one behind the other, and blocks often do: the hardware
// streams them by itself. It is slowed down by being asked for more than the start of a stream, but
// has none as short as kShortStream.
constexpr std::int64_t kShortStream = 2048;
constexpr std::int64_t kStreamStart = 192;
constexpr std::int64_t kLineBytes = 64;

class Decode {
 public:
  Decode(const AttentionDecode& p, const DistanceBias& bias, const DecodeChunks& plan,
         Scratch& scratch)
      : p_(p),
        bias_(bias),
        plan_(plan),
        heads_(static_cast<int>(p.q.shape[1])),
        blockTokens_(static_cast<int>(p.cache.values.shape[2])),
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
    for (int key = 0; key < chunk.keys; key += kDecodeTileKeys) {
      attend(chunk, {chunk.firstKey + key, std::min(kDecodeTileKeys, chunk.keys - key)}, tiles);
    }
    forEachRow(chunk, [&](int row, int sequence, int head) {
      const float sum = sumOfRow(tiles.sums + row * kLanes);
      float* output = tiles.output + row * width_;
      if (chunk.siblings == 1) {
        finish(sequence, head, sum, output);
      } else {
        savePartial(partial(chunk, 0, row), tiles.maxima[row], sum, output);
      }
    });
  }

  /// Joins the key chunks of which `first` is the first, in the order of the keys.
  void combine(const DecodeChunk& first) const {
    forEachRow(first, [&](int row, int sequence, int head) {
      float* joined = partial(first, 0, row);
      for (int sibling = 1; sibling < first.siblings; ++sibling) {
        join(joined, partial(first, sibling, row));
      }
      finish(sequence, head, joined[1], joined + kPartialHeader);
    });
  }

 private:
  // One task's working memory. A row is a query head of a sequence; those that read one K/V head
  // follow each other. A task uses the rows of its own K/V heads.
  struct Tiles {
    float* q;       // [rows, width], scaled
    float* output;  // [rows, width]
    float* maxima;  // [rows]
    float* sums;    // [rows, kLanes]
    float* scores;  // [rows, kScoreStride]
    // [headDim, kDecodeTileKeys] keys or [kDecodeTileKeys, width] values that are not read in place
    float* copies;
  };

  // Keys whose softmax is taken together.
  struct KeyTile {
    int firstKey = 0;
    int keys = 0;
  };

  // A partial state is the maximum, the sum, and the unnormalised output.
  static constexpr int kPartialHeader = 16;

  std::size_t partialStride() const { return kPartialHeader + width_; }
  float* partial(const DecodeChunk& chunk, int sibling, int row) const {
    const std::int64_t index =
        chunk.partial + std::int64_t{sibling} * chunk.sequences * heads_ + row;
    return partials_ + static_cast<std::size_t>(index) * partialStride();
  }

  // The rows that read one K/V head.
  HeadGroup rowsOf(const DecodeChunk& chunk, int kvHead) const {
    const HeadGroup& heads = plan_.groups[kvHead];
    return {heads.first * chunk.sequences, heads.count * chunk.sequences};
  }

  // Calls visit(row, sequence, head) for the rows of the chunk.
  template <typename Visit>
  void forEachRow(const DecodeChunk& chunk, const Visit& visit) const {
    for (int kvHead = chunk.firstKvHead; kvHead < chunk.firstKvHead + chunk.kvHeads; ++kvHead) {
      const HeadGroup& heads = plan_.groups[kvHead];
      int row = rowsOf(chunk, kvHead).first;
      for (int i = 0; i < chunk.sequences; ++i) {
        for (int head = heads.first; head < heads.first + heads.count; ++head) {
          visit(row++, chunk.sequence + i, head);
        }
      }
    }
  }

  Tiles carve(ScratchCarver& carver) const {
    const auto rows = static_cast<std::size_t>(heads_ * plan_.mostSequences);
    return {.q = carver.take(rows * width_),
            .output = carver.take(rows * width_),
            .maxima = carver.take(rows),
            .sums = carver.take(rows * kLanes),
            .scores = carver.take(rows * kScoreStride),
            .copies = carver.take(static_cast<std::size_t>(kDecodeTileKeys) * width_)};
  }

  void load(const DecodeChunk& chunk, const Tiles& tiles) const {
    forEachRow(chunk, [&](int row, int sequence, int head) {
      const float* q = p_.q.as<float>() + (std::int64_t{sequence} * heads_ + head) * headDim_;
      packRows(q, headDim_, 1, headDim_, tiles.q + row * width_, width_);
      if (p_.scale != 1.0f) scaleRow(tiles.q + row * width_, width_, p_.scale);
      std::fill_n(tiles.output + row * width_, width_, 0.0f);
      tiles.maxima[row] = kNoScore;
      std::fill_n(tiles.sums + row * kLanes, kLanes, 0.0f);
    });
  }

  void attend(const DecodeChunk& chunk, const KeyTile& tile, const Tiles& tiles) const {
    forEachRun(chunk, tile, [&](int kvHead, int begin, int count) {
      askFor(chunk, p_.cache.keys, kvHead, tile.firstKey + begin + kDecodeTileKeys);
      score(chunk, kvHead, tile.firstKey + begin, count, tiles, begin);
    });
    const int position = p_.cache.lengths[chunk.sequence] - 1;
    forEachRow(chunk, [&](int row, int, int head) {
      const SoftmaxRow state{.maximum = tiles.maxima + row,
                             .sums = tiles.sums + row * kLanes,
                             .output = tiles.output + row * width_,
                             .outputSize = width_};
      softmaxTileRow(tiles.scores + row * kScoreStride, bias_.at(head, tile.firstKey, position),
                     tile.keys, tile.keys, state);
    });
    forEachRun(chunk, tile, [&](int kvHead, int begin, int count) {
      askFor(chunk, p_.cache.values, kvHead, tile.firstKey + begin + kDecodeTileKeys);
      addUp(chunk, kvHead, tile.firstKey + begin, count, tiles, begin);
    });
  }

  // Calls visit(kvHead, begin, count) for the runs of the tile's keys that lie in one block each,
  // and for each K/V head of the chunk that is read; begin counts from the tile's first key.
  template <typename Visit>
  void forEachRun(const DecodeChunk& chunk, const KeyTile& tile, const Visit& visit) const {
    for (int begin = 0; begin < tile.keys;) {
      const int inBlock = (tile.firstKey + begin) % blockTokens_;
      const int count = std::min(tile.keys - begin, blockTokens_ - inBlock);
      for (int kvHead = chunk.firstKvHead; kvHead < chunk.firstKvHead + chunk.kvHeads; ++kvHead) {
        if (plan_.groups[kvHead].count > 0) visit(kvHead, begin, count);
      }
      begin += count;
    }
  }

  std::int64_t blockOf(const DecodeChunk& chunk, int key) const {
    return p_.cache.blockTable[p_.cache.tableOffsets[chunk.sequence] + key / blockTokens_];
  }

  // Calls visit(elements) for the cache's elements from `start` on.
  template <typename Visit>
  static void withElements(const ConstTensorView& cache, std::int64_t start, const Visit& visit) {
    switch (cache.dtype) {
      case DType::bfloat16:
        return visit(cache.as<BFloat16>() + start);
      case DType::int8:
        return visit(cache.as<std::int8_t>() + start);
      default:
        return visit(cache.as<float>() + start);
    }
  }

  // The scores of keys [key, key + count) of one block for the query heads of one K/V head.
  void score(const DecodeChunk& chunk, int kvHead, int key, int count, const Tiles& tiles,
             int begin) const {
    const ConstTensorView& cache = p_.cache.keys;
    const std::int64_t start =
        blockOf(chunk, key) * cache.strides[0] + kvHead * cache.strides[1] + key % blockTokens_;
    const auto of = [&](const auto* keys, std::ptrdiff_t stride) {
      const HeadGroup rows = rowsOf(chunk, kvHead);
      forRowTiles<kScoreHeads>(rows.count, [&]<int kHeads>(std::int64_t tile) {
        const std::int64_t row = rows.first + tile;
        scoreHeads<kHeads>(tiles.q + row * width_, width_, keys, stride, count, headDim_,
                           tiles.scores + row * kScoreStride + begin);
      });
    };
    withElements(cache, start, [&](const auto* keys) {
      if (blockTokens_ % kLanes == 0) return of(keys, blockTokens_);
      // Whole vectors can be read of the copy.
      packRows(keys, blockTokens_, headDim_, count, tiles.copies, kDecodeTileKeys);
      of(static_cast<const float*>(tiles.copies), kDecodeTileKeys);
    });
    scaleScores(p_.cache.keyScales, chunk, kvHead, key, count, tiles, begin);
  }

  // Multiplies what a run's keys have as scores by the keys' own scales, if there are any.
  void scaleScores(const ConstTensorView& scales, const DecodeChunk& chunk, int kvHead, int key,
                   int count, const Tiles& tiles, int begin) const {
    if (!scales.given()) return;
    const float* own = scales.as<float>() + blockOf(chunk, key) * scales.strides[0] +
                       kvHead * scales.strides[1] + key % blockTokens_;
    const HeadGroup rows = rowsOf(chunk, kvHead);
    for (int row = rows.first; row < rows.first + rows.count; ++row) {
      float* scores = tiles.scores + row * kScoreStride + begin;
      for (int i = 0; i < count; ++i) scores[i] *= own[i];
    }
  }

  // Adds the values of keys [key, key + count), times their weights, to the outputs of the query
  // heads of one K/V head.
  void addUp(const DecodeChunk& chunk, int kvHead, int key, int count, const Tiles& tiles,
             int begin) const {
    const ConstTensorView& cache = p_.cache.values;
    const std::int64_t start = blockOf(chunk, key) * cache.strides[0] + kvHead * cache.strides[1] +
                               key % blockTokens_ * headDim_;
    const HeadGroup rows = rowsOf(chunk, kvHead);
    const auto of = [&](const auto* values) {
      forRowTiles<kValueHeads>(rows.count, [&]<int kHeads>(std::int64_t tile) {
        const std::int64_t row = rows.first + tile;
        addValues<kHeads>(tiles.scores + row * kScoreStride + begin, values, count, width_,
                          tiles.output + row * width_);
      });
    };
    // The weights are in the sums already: scaled they stand for the values'.
    scaleScores(p_.cache.valueScales, chunk, kvHead, key, count, tiles, begin);
    // Widening a few times in registers is less work than once through memory.
    const bool isFloat = cache.dtype == DType::float32;
    const bool inPlace = headDim_ == width_ && (isFloat || rows.count <= 2 * kValueHeads);
    withElements(cache, start, [&](const auto* values) {
      if (inPlace) return of(values);
      packRows(values, headDim_, count, headDim_, tiles.copies, width_);
      of(static_cast<const float*>(tiles.copies));
    });
  }

  // Asks for what the next tile reads of the block that holds a key.
  // Inlined always: GCC takes a function that only prefetches for one without effect.
  HWY_INLINE void askFor(const DecodeChunk& chunk, const ConstTensorView& cache, int kvHead,
                         int key) const {
    if (key >= chunk.firstKey + chunk.keys) return;
    const auto elementBytes = static_cast<std::int64_t>(bytesOf(cache.dtype));
    const std::int64_t start = blockOf(chunk, key) * cache.strides[0] + kvHead * cache.strides[1];
    const auto* bytes = cache.as<char>() + start * elementBytes;
    const std::int64_t stream = std::min(blockTokens_, kDecodeTileKeys) * headDim_ * elementBytes;
    const std::int64_t wanted = stream <= kShortStream ? stream : kStreamStart;
    for (std::int64_t byte = 0; byte < wanted; byte += kLineBytes) {
      __builtin_prefetch(bytes + byte, 0, 2);
    }
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
  if (plan.rows * p.cache.values.shape[3] < kParallelElements) {
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
