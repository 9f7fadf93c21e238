#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/attention_backward.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include <functional>

#include "base/parallel.h"
#include "ops/cpu/attention.h"
#include "ops/cpu/attention_backward_plan.h"
#include "ops/cpu/attention_rows_inl.h"
#include "ops/cpu/tile_matmul_inl.h"

HWY_BEFORE_NAMESPACE();
namespace wgqa::cpu::HWY_NAMESPACE {

// A row of score gradients has zeros on both sides, so that diagonals can be summed by vectors.
constexpr int kGradStride = kTileKeys + 2 * kLanes;

// sums[u] += the sum of rows[i][j] over j - i + (count - 1) == u: the scores of one distance.
// `rows` points at column 0 of the first of `count` rows, `keys` columns are not zero.
void addDiagonals(const float* rows, std::ptrdiff_t stride, int count, int keys, float* sums) {
  const FloatTag d;
  for (int u = 0; u < keys + count - 1; u += kLanes) {
    const int shift = u - (count - 1);
    const int begin = std::max(0, 1 - kLanes - shift);
    const int end = std::min(count, keys - shift);
    auto sum = hn::LoadU(d, sums + u);
    for (int i = begin; i < end; ++i)
      sum = hn::Add(sum, hn::LoadU(d, rows + i * stride + i + shift));
    hn::StoreU(sum, d, sums + u);
  }
}

class Backward {
 public:
  Backward(const AttentionPrefillBackward& p, const BackwardPlan& plan)
      : p_(p),
        plan_(plan),
        heads_(static_cast<int>(p.q.shape[1])),
        kvHeads_(static_cast<int>(p.k.shape[1])),
        headDim_(static_cast<int>(p.q.shape[2])),
        width_(roundUpToLanes(headDim_)) {}

  std::size_t scratchFloats() const {
    ScratchCarver carver(nullptr);
    carve(carver);
    return carver.used();
  }

  void run(std::int64_t index, float* scratch) const {
    const QueryChunk& chunk = plan_.chunks.chunks[index];
    ScratchCarver carver(scratch);
    const Tiles tiles = carve(carver);
    const Visibility visible(p_.shape, chunk.sequence);
    load(chunk, visible, tiles);
    for (int firstKey = 0; firstKey < visible.keys(); firstKey += kTileKeys) {
      const int keys = std::min(kTileKeys, visible.keys() - firstKey);
      packKeys(chunk, firstKey, keys, tiles);
      for (int row = 0; row < chunk.rows(); row += kTileRows) {
        const int rows = std::min(kTileRows, chunk.rows() - row);
        const int lastQuery = RowCursor(chunk, row + rows - 1).query();
        const int seen = std::min(visible.count(lastQuery) - firstKey, keys);
        if (seen > 0) propagate(chunk, visible, {row, rows, firstKey, seen}, tiles);
      }
      writeKeys(chunk, firstKey, keys, tiles);
    }
    writeQueries(chunk, tiles);
    if (p_.gradBiasTable.given()) sumBuckets(chunk, visible, index, tiles);
  }

  /// Adds up gradK and gradV of the chunks of one sequence and K/V head, in the order of the
  /// chunks.
  void combine(const QueryChunk& first) const {
    const auto keys = static_cast<int>(p_.shape.keys.length(first.sequence));
    for (int key = 0; key < keys; ++key) {
      float* sum = partialRow(first.partial + key);
      for (int sibling = 1; sibling < first.siblings; ++sibling) {
        addRow(partialRow(first.partial + std::int64_t{sibling} * keys + key), 2 * headDim_, sum);
      }
      writeOutput(sum, headDim_, p_.gradK, keyRow(first, key));
      writeOutput(sum + headDim_, headDim_, p_.gradV, keyRow(first, key));
    }
  }

 private:
  // One task's working memory.
  struct Tiles {
    float* q;                 // [rows, width], scaled
    float* gradOut;           // [rows, width]
    float* gradQ;             // [rows, width]
    float* deltas;            // [rows] gradOut . out
    float* logSums;           // [rows]
    float* keysTransposed;    // [headDim, kTileKeys]
    float* valuesTransposed;  // [headDim, kTileKeys]
    float* keys;              // [kTileKeys, width]
    float* gradK;             // [kTileKeys, width]
    float* gradV;             // [kTileKeys, width]
    float* weights;           // [kTileRows, kTileKeys] scores, then probabilities after dropout
    float* gradScores;        // [kTileRows, kGradStride], column 0 at kLanes
    float* factors;           // [kTileKeys] of dropout
    float* gradBias;          // [group, distances]
  };

  // Part of the score matrix: rows of the chunk by keys that at least one of them sees.
  struct Block {
    int row;
    int rows;
    int firstKey;
    int keys;
  };

  Tiles carve(ScratchCarver& carver) const {
    const auto rows = static_cast<std::size_t>(plan_.chunks.maxRows);
    const auto width = static_cast<std::size_t>(width_);
    const auto headDim = static_cast<std::size_t>(headDim_);
    const std::size_t biasRows = p_.gradBiasTable.given() ? plan_.maxGroup : 0;
    return {.q = carver.take(rows * width),
            .gradOut = carver.take(rows * width),
            .gradQ = carver.take(rows * width),
            .deltas = carver.take(rows),
            .logSums = carver.take(rows),
            .keysTransposed = carver.take(headDim * kTileKeys),
            .valuesTransposed = carver.take(headDim * kTileKeys),
            .keys = carver.take(kTileKeys * width),
            .gradK = carver.take(kTileKeys * width),
            .gradV = carver.take(kTileKeys * width),
            .weights = carver.take(kTileRows * kTileKeys),
            .gradScores = carver.take(kTileRows * kGradStride),
            .factors = carver.take(kTileKeys),
            .gradBias = carver.take(biasRows * distances())};
  }

  std::size_t distances() const { return plan_.maxKeys + plan_.chunks.maxQueries + kLanes; }

  std::int64_t tensorRow(const QueryChunk& chunk, const RowCursor& cursor) const {
    const std::int64_t token = p_.shape.queries.offsets[chunk.sequence] + cursor.query();
    return token * heads_ + cursor.head();
  }

  std::int64_t keyRow(const QueryChunk& chunk, int key) const {
    const std::int64_t token = p_.shape.keys.offsets[chunk.sequence] + key;
    return token * kvHeads_ + chunk.kvHead;
  }

  float* partialRow(std::int64_t row) const { return plan_.gradKeyPartials + row * 2 * headDim_; }

  static void addRow(const float* from, int count, float* to) {
    const FloatTag d;
    int i = 0;
    for (; i + kLanes <= count; i += kLanes) {
      hn::StoreU(hn::Add(hn::LoadU(d, to + i), hn::LoadU(d, from + i)), d, to + i);
    }
    for (; i < count; ++i) to[i] += from[i];
  }

  void load(const QueryChunk& chunk, const Visibility& visible, const Tiles& tiles) const {
    const int rows = chunk.rows();
    packChunk(p_.q, p_.shape.queries, chunk, tiles.q, width_);
    packChunk(p_.gradOut, p_.shape.queries, chunk, tiles.gradOut, width_);
    // gradQ holds the output until the products begin.
    packChunk(p_.out, p_.shape.queries, chunk, tiles.gradQ, width_);
    if (p_.shape.scale != 1.0f) scaleRow(tiles.q, rows * width_, p_.shape.scale);
    if (rows > 0) {
      RowCursor cursor(chunk, 0);
      for (int i = 0; i < rows; ++i, cursor.next()) {
        const std::ptrdiff_t start = static_cast<std::ptrdiff_t>(i) * width_;
        tiles.deltas[i] = dotRows(tiles.gradOut + start, tiles.gradQ + start, width_);
        tiles.logSums[i] = p_.logSumExp.as<float>()[tensorRow(chunk, cursor)];
      }
    }
    std::fill(tiles.gradQ, tiles.gradQ + static_cast<std::ptrdiff_t>(rows) * width_, 0.0f);
    std::fill(tiles.gradScores, tiles.gradScores + kTileRows * kGradStride, 0.0f);
    if (p_.gradBiasTable.given()) {
      const std::size_t used = visible.keys() + chunk.queries + kLanes;
      for (int member = 0; member < chunk.group.count; ++member) {
        float* sums = tiles.gradBias + member * distances();
        std::fill(sums, sums + used, 0.0f);
      }
    }
  }

  void packKeys(const QueryChunk& chunk, int firstKey, int count, const Tiles& tiles) const {
    const float* k = p_.k.as<float>() + keyRow(chunk, firstKey) * headDim_;
    const float* v = p_.v.as<float>() + keyRow(chunk, firstKey) * headDim_;
    const std::ptrdiff_t stride = static_cast<std::ptrdiff_t>(kvHeads_) * headDim_;
    packTransposed(k, stride, count, headDim_, tiles.keysTransposed, kTileKeys);
    packTransposed(v, stride, count, headDim_, tiles.valuesTransposed, kTileKeys);
    packRows(k, stride, count, headDim_, tiles.keys, width_);
    std::fill(tiles.gradK, tiles.gradK + count * width_, 0.0f);
    std::fill(tiles.gradV, tiles.gradV + count * width_, 0.0f);
  }

  // The five products of one block.
  void propagate(const QueryChunk& chunk, const Visibility& visible, const Block& block,
                 const Tiles& tiles) const {
    const std::ptrdiff_t start = static_cast<std::ptrdiff_t>(block.row) * width_;
    float* gradScores = tiles.gradScores + kLanes;
    TileProduct score{.a = tiles.q + start,
                      .aRowStride = width_,
                      .b = tiles.keysTransposed,
                      .bStride = kTileKeys,
                      .c = tiles.weights,
                      .cStride = kTileKeys,
                      .rows = block.rows,
                      .columns = roundUpToLanes(block.keys),
                      .depth = headDim_};
    tileMatmul(score);
    score.a = tiles.gradOut + start;
    score.b = tiles.valuesTransposed;
    score.c = gradScores;
    score.cStride = kGradStride;
    tileMatmul(score);
    differentiateRows(chunk, visible, block, tiles);
    TileProduct gradKey{.a = tiles.weights,
                        .aRowStride = 1,
                        .aDepthStride = kTileKeys,
                        .b = tiles.gradOut + start,
                        .bStride = width_,
                        .c = tiles.gradV,
                        .cStride = width_,
                        .rows = block.keys,
                        .columns = width_,
                        .depth = block.rows,
                        .add = true};
    tileMatmul(gradKey);
    gradKey.a = gradScores;
    gradKey.aDepthStride = kGradStride;
    gradKey.b = tiles.q + start;
    gradKey.c = tiles.gradK;
    tileMatmul(gradKey);
    tileMatmul({.a = gradScores,
                .aRowStride = kGradStride,
                .b = tiles.keys,
                .bStride = width_,
                .c = tiles.gradQ + start,
                .cStride = width_,
                .rows = block.rows,
                .columns = width_,
                .depth = block.keys,
                .add = true});
    if (p_.gradBiasTable.given()) addBiasGradient(chunk, block, tiles);
  }

  void differentiateRows(const QueryChunk& chunk, const Visibility& visible, const Block& block,
                         const Tiles& tiles) const {
    RowCursor cursor(chunk, block.row);
    for (int i = 0; i < block.rows; ++i, cursor.next()) {
      const int query = cursor.query();
      const bool seesNothing = tiles.logSums[block.row + i] == kNoScore;
      const int count =
          seesNothing ? 0 : std::clamp(visible.count(query) - block.firstKey, 0, block.keys);
      const float* factors = nullptr;
      if (p_.shape.dropout.rate > 0.0f) {
        dropoutFactors(p_.shape.dropout, static_cast<std::uint32_t>(tensorRow(chunk, cursor)),
                       block.firstKey, count, tiles.factors);
        factors = tiles.factors;
      }
      const float* bias = plan_.bias.at(cursor.head(), block.firstKey, visible.position(query));
      differentiateRow(tiles, block.row, i, count, bias, factors);
      // The softmax over a single key is constant; rounding would leave a residue of the gradient.
      if (visible.count(query) == 1) tiles.gradScores[kLanes + i * kGradStride] = 0.0f;
    }
  }

  // Scores and gradients of probabilities become probabilities and gradients of scores:
  // gradScore = p * (factor * gradP - delta). Keys that the row does not see get 0.
  void differentiateRow(const Tiles& tiles, int firstRow, int i, int count, const float* bias,
                        const float* factors) const {
    const FloatTag d;
    float* weights = tiles.weights + i * kTileKeys;
    float* gradients = tiles.gradScores + kLanes + i * kGradStride;
    const auto logSum = hn::Set(d, tiles.logSums[firstRow + i]);
    const auto delta = hn::Set(d, tiles.deltas[firstRow + i]);
    int key = 0;
    for (; key < count; key += kLanes) {
      const auto seen = hn::FirstN(d, count - key);
      const float* keyBias = bias == nullptr ? nullptr : bias + key;
      const auto p = hn::IfThenElseZero(seen, shiftedExp(weights + key, keyBias, logSum));
      auto gradient = hn::LoadU(d, gradients + key);
      auto dropped = p;
      if (factors != nullptr) {
        const auto factor = hn::LoadU(d, factors + key);
        gradient = hn::Mul(gradient, factor);
        dropped = hn::Mul(dropped, factor);
      }
      gradient = hn::IfThenElseZero(seen, hn::Mul(p, hn::Sub(gradient, delta)));
      hn::StoreU(dropped, d, weights + key);
      hn::StoreU(gradient, d, gradients + key);
    }
    for (; key < kTileKeys; key += kLanes) {
      hn::StoreU(hn::Zero(d), d, weights + key);
      hn::StoreU(hn::Zero(d), d, gradients + key);
    }
  }

  // Gradients of scores of equal distance, per head, into the distance rows of the task.
  void addBiasGradient(const QueryChunk& chunk, const Block& block, const Tiles& tiles) const {
    const int group = chunk.group.count;
    const float* rows = tiles.gradScores + kLanes;
    for (int i = 0; i < std::min(group, block.rows); ++i) {
      const int member = (block.row + i) % group;
      const int count = (block.rows - i + group - 1) / group;
      // Index 0 of a distance row is key 0 seen from the last query of the chunk.
      const int lastQuery = (block.row + i) / group + count - 1;
      const int offset = block.firstKey + chunk.queries - 1 - lastQuery;
      addDiagonals(rows + i * kGradStride, group * kGradStride, count, block.keys,
                   tiles.gradBias + member * distances() + offset);
    }
  }

  void writeKeys(const QueryChunk& chunk, int firstKey, int count, const Tiles& tiles) const {
    for (int i = 0; i < count; ++i) {
      const float* gradK = tiles.gradK + i * width_;
      const float* gradV = tiles.gradV + i * width_;
      if (chunk.siblings > 1) {
        float* partial = partialRow(chunk.partial + firstKey + i);
        copyRow(gradK, headDim_, partial);
        copyRow(gradV, headDim_, partial + headDim_);
      } else {
        writeOutput(gradK, headDim_, p_.gradK, keyRow(chunk, firstKey + i));
        writeOutput(gradV, headDim_, p_.gradV, keyRow(chunk, firstKey + i));
      }
    }
  }

  void writeQueries(const QueryChunk& chunk, const Tiles& tiles) const {
    const int rows = chunk.rows();
    if (rows == 0) return;
    if (p_.shape.scale != 1.0f) scaleRow(tiles.gradQ, rows * width_, p_.shape.scale);
    RowCursor cursor(chunk, 0);
    for (int i = 0; i < rows; ++i, cursor.next()) {
      writeOutput(tiles.gradQ + static_cast<std::ptrdiff_t>(i) * width_, headDim_, p_.gradQ,
                  tensorRow(chunk, cursor));
    }
  }

  // The task's distance rows summed by bucket.
  void sumBuckets(const QueryChunk& chunk, const Visibility& visible, std::int64_t index,
                  const Tiles& tiles) const {
    const std::int64_t buckets = p_.gradBiasTable.shape[0];
    double* sums = plan_.gradBiasPartials + index * plan_.maxGroup * buckets;
    std::fill(sums, sums + plan_.maxGroup * buckets, 0.0);
    const int lowest = -visible.position(chunk.firstQuery + chunk.queries - 1);
    for (int member = 0; member < chunk.group.count; ++member) {
      const float* distances = tiles.gradBias + member * this->distances();
      for (int i = 0; i < visible.keys() + chunk.queries - 1; ++i) {
        sums[member * buckets + plan_.buckets[lowest + i]] += distances[i];
      }
    }
  }

  const AttentionPrefillBackward& p_;
  const BackwardPlan& plan_;
  int heads_;
  int kvHeads_;
  int headDim_;
  int width_;
};

void backward(const AttentionPrefillBackward& p, const BackwardPlan& plan, Scratch& scratch) {
  const Backward kernel(p, plan);
  const ThreadSlices<float> slices =
      scratch.perThread<float>(threadCount(), kernel.scratchFloats());
  const auto count = static_cast<std::int64_t>(plan.chunks.chunks.size());
  const auto task = [&](std::int64_t index, int thread) { kernel.run(index, slices.of(thread)); };
  parallelTasks(count, std::cref(task));
  if (plan.chunks.partialRows == 0) return;
  const auto combine = [&](std::int64_t index, int) {
    const QueryChunk& chunk = plan.chunks.chunks[index];
    if (chunk.index == 0 && chunk.siblings > 1) kernel.combine(chunk);
  };
  parallelTasks(count, std::cref(combine));
}

}  // namespace wgqa::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wgqa::cpu {

HWY_EXPORT(backward);

void attentionPrefillBackward(const AttentionPrefillBackward& p, Scratch& scratch) {
  const BackwardPlan plan = planBackward(p, scratch);
  HWY_DYNAMIC_DISPATCH(backward)(p, plan, scratch);
  if (p.gradBiasTable.given()) addBiasTable(p, plan);
}

}  // namespace wgqa::cpu
#endif
