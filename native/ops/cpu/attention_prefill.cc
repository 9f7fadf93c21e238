#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/attention_prefill.cc"
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

class Prefill {
 public:
  Prefill(const AttentionPrefill& p, const DistanceBias& bias)
      : p_(p),
        bias_(bias),
        heads_(static_cast<int>(p.q.shape[1])),
        kvHeads_(static_cast<int>(p.k.shape[1])),
        headDim_(static_cast<int>(p.q.shape[2])),
        width_(roundUpToLanes(headDim_)) {}

  std::size_t scratchFloats(int maxRows) const {
    ScratchCarver carver(nullptr);
    carve(carver, maxRows);
    return carver.used();
  }

  void run(const QueryChunk& chunk, float* scratch) const {
    const int rows = chunk.rows();
    ScratchCarver carver(scratch);
    const Tiles tiles = carve(carver, rows);
    packChunk(p_.q, p_.shape.queries, chunk, tiles.q, width_);
    if (p_.shape.scale != 1.0f) scaleRow(tiles.q, rows * width_, p_.shape.scale);
    std::fill(tiles.output, tiles.output + rows * width_, 0.0f);
    std::fill(tiles.maxima, tiles.maxima + rows, kNoScore);
    std::fill(tiles.sums, tiles.sums + rows * kLanes, 0.0f);
    const Visibility visible(p_.shape, chunk.sequence);
    const int keys = visible.count(chunk.firstQuery + chunk.queries - 1);
    for (int firstKey = 0; firstKey < keys; firstKey += kTileKeys) {
      const int count = std::min(kTileKeys, keys - firstKey);
      packKeys(chunk, firstKey, count, tiles);
      for (int row = 0; row < rows; row += kTileRows) {
        attend(chunk, visible, row, std::min(kTileRows, rows - row), firstKey, count, tiles);
      }
    }
    writeRows(chunk, tiles);
  }

 private:
  // One task's working memory.
  struct Tiles {
    float* q;        // [rows, width], scaled
    float* output;   // [rows, width]
    float* maxima;   // [rows]
    float* sums;     // [rows, kLanes]
    float* keys;     // [headDim, kTileKeys]
    float* values;   // [kTileKeys, width]
    float* scores;   // [kTileRows, kTileKeys]
    float* factors;  // [kTileKeys] of dropout
  };

  Tiles carve(ScratchCarver& carver, int rows) const {
    const auto wide = static_cast<std::size_t>(rows) * width_;
    return {.q = carver.take(wide),
            .output = carver.take(wide),
            .maxima = carver.take(rows),
            .sums = carver.take(static_cast<std::size_t>(rows) * kLanes),
            .keys = carver.take(static_cast<std::size_t>(headDim_) * kTileKeys),
            .values = carver.take(static_cast<std::size_t>(width_) * kTileKeys),
            .scores = carver.take(kTileRows * kTileKeys),
            .factors = carver.take(kTileKeys)};
  }

  std::int64_t token(const QueryChunk& chunk, int query) const {
    return p_.shape.queries.offsets[chunk.sequence] + query;
  }

  void packKeys(const QueryChunk& chunk, int firstKey, int count, const Tiles& tiles) const {
    const std::int64_t token = p_.shape.keys.offsets[chunk.sequence] + firstKey;
    const std::int64_t start = (token * kvHeads_ + chunk.kvHead) * headDim_;
    const std::ptrdiff_t stride = static_cast<std::ptrdiff_t>(kvHeads_) * headDim_;
    packTransposed(p_.k.as<float>() + start, stride, count, headDim_, tiles.keys, kTileKeys);
    packRows(p_.v.as<float>() + start, stride, count, headDim_, tiles.values, width_);
  }

  // Rows [row, row + rows) of the chunk against one key tile.
  void attend(const QueryChunk& chunk, const Visibility& visible, int row, int rows, int firstKey,
              int keys, const Tiles& tiles) const {
    const int lastQuery = RowCursor(chunk, row + rows - 1).query();
    const int seen = std::min(visible.count(lastQuery) - firstKey, keys);
    if (seen <= 0) return;
    tileMatmul({.a = tiles.q + static_cast<std::ptrdiff_t>(row) * width_,
                .aRowStride = width_,
                .b = tiles.keys,
                .bStride = kTileKeys,
                .c = tiles.scores,
                .cStride = kTileKeys,
                .rows = rows,
                .columns = roundUpToLanes(seen),
                .depth = headDim_});
    softmaxRows(chunk, visible, row, rows, firstKey, seen, tiles);
    tileMatmul({.a = tiles.scores,
                .aRowStride = kTileKeys,
                .b = tiles.values,
                .bStride = width_,
                .c = tiles.output + static_cast<std::ptrdiff_t>(row) * width_,
                .cStride = width_,
                .rows = rows,
                .columns = width_,
                .depth = seen,
                .add = true});
  }

  void softmaxRows(const QueryChunk& chunk, const Visibility& visible, int row, int rows,
                   int firstKey, int keys, const Tiles& tiles) const {
    RowCursor cursor(chunk, row);
    for (int i = 0; i < rows; ++i, cursor.next()) {
      const int query = cursor.query();
      const int count = std::clamp(visible.count(query) - firstKey, 0, keys);
      float* scores = tiles.scores + i * kTileKeys;
      const SoftmaxRow state{.maximum = tiles.maxima + row + i,
                             .sums = tiles.sums + (row + i) * kLanes,
                             .output = tiles.output + static_cast<std::ptrdiff_t>(row + i) * width_,
                             .outputSize = width_};
      softmaxTileRow(scores, bias_.at(cursor.head(), firstKey, visible.position(query)), count,
                     keys, state);
      if (p_.shape.dropout.rate > 0.0f) {
        const auto random =
            static_cast<std::uint32_t>(token(chunk, query) * heads_ + cursor.head());
        dropoutFactors(p_.shape.dropout, random, firstKey, count, tiles.factors);
        multiplyRow(scores, tiles.factors, count);
      }
    }
  }

  void writeRows(const QueryChunk& chunk, const Tiles& tiles) const {
    RowCursor cursor(chunk, 0);
    for (int i = 0; i < chunk.rows(); ++i, cursor.next()) {
      const std::int64_t row = token(chunk, cursor.query()) * heads_ + cursor.head();
      float* output = tiles.output + static_cast<std::ptrdiff_t>(i) * width_;
      const bool seesNothing = tiles.maxima[i] == kNoScore;
      const float sum = seesNothing ? 1.0f : sumOfRow(tiles.sums + i * kLanes);
      scaleRow(output, width_, 1.0f / sum);
      writeOutput(output, headDim_, p_.out, row);
      if (p_.logSumExp.given()) {
        p_.logSumExp.as<float>()[row] = tiles.maxima[i] + std::log(sum);
      }
    }
  }

  const AttentionPrefill& p_;
  const DistanceBias& bias_;
  int heads_;
  int kvHeads_;
  int headDim_;
  int width_;
};

void prefill(const AttentionPrefill& p, const DistanceBias& bias, const QueryChunks& chunks,
             Scratch& scratch) {
  const Prefill kernel(p, bias);
  const ThreadSlices<float> slices =
      scratch.perThread<float>(threadCount(), kernel.scratchFloats(chunks.maxRows));
  const auto task = [&](std::int64_t index, int thread) {
    kernel.run(chunks.chunks[index], slices.of(thread));
  };
  parallelTasks(static_cast<std::int64_t>(chunks.chunks.size()), std::cref(task));
}

}  // namespace wgqa::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wgqa::cpu {

HWY_EXPORT(prefill);

void attentionPrefill(const AttentionPrefill& p, Scratch& scratch) {
  const std::int64_t maxKeys = maxLength(p.shape.keys);
  const std::int64_t span = maxSpan(p.shape);
  DistanceBias bias;
  if (p.shape.bias.given()) {
    const BucketTable buckets(p.shape.bias, std::max(maxKeys, span), scratch,
                              SharedScratch::second);
    bias = DistanceBias(p.shape.bias, buckets, maxKeys, span, scratch, SharedScratch::third);
  }
  const QueryChunks chunks =
      prefillChunks(p.shape, static_cast<int>(p.k.shape[1]), scratch, SharedScratch::first);
  HWY_DYNAMIC_DISPATCH(prefill)(p, bias, chunks, scratch);
}

}  // namespace wgqa::cpu
#endif
