// The gradient of attention on tensor cores, after FlashAttention-2 (Dao 2023, arXiv 2307.08691):
// probabilities are computed again from the softmax's sums. Keys' and queries' gradients have a
// kernel each, whose blocks own what they add to: no block waits for another, every sum has one
// order, and probabilities stay in registers, at the price of computing them twice.
#include "ops/cuda/kernels/attention_tensor_backward.h"

#include "ops/cuda/kernels/attention_bias_gradient.h"
#include "ops/cuda/kernels/attention_gradient_tile.h"
#include "ops/cuda/kernels/registry.h"

namespace wgqa::cuda {
namespace {

// ---------------------------------------------------------------------------- statistics

template <typename T>
WGQA_DEVICE void loadEight(const T* from, float (&values)[8]) {
  constexpr int kCount = kPer16Bytes<T> < 8 ? kPer16Bytes<T> : 8;
  WGQA_UNROLL
  for (int i = 0; i < 8; i += kCount) {
    const auto vector = loadVector<kCount>(from + i);
    WGQA_UNROLL
    for (int j = 0; j < kCount; ++j) values[i + j] = widen(vector.elements[j]);
  }
}

// Lane `lane` of those that share a row: its part of gradOut . out, with gradOut as rounded.
template <typename GradOut, typename Out>
WGQA_DEVICE float deltaOfLane(const QueryStatisticsArguments& p, std::int64_t row, int lane) {
  float sum = 0.0f;
  for (int column = 8 * lane; column < p.shape.headDim; column += 8 * StatisticsTiles::kLanes) {
    float grad[8];
    float out[8];
    loadEight(static_cast<const GradOut*>(p.gradOut) + row + column, grad);
    loadEight(static_cast<const Out*>(p.out) + row + column, out);
    Vector<BFloat16Element, 8> rounded;
    WGQA_UNROLL
    for (int i = 0; i < 8; ++i) {
      round(grad[i], rounded.elements[i]);
      sum += widen(rounded.elements[i]) * out[i];
    }
    if (p.roundedGradOut != nullptr) storeVector(p.roundedGradOut + row + column, rounded);
  }
  return sum;
}

template <typename GradOut, typename Out>
WGQA_KERNEL void WGQA_BOUNDS(StatisticsTiles::kThreads, 4)
    queryStatistics(QueryStatisticsArguments p) {
  constexpr int kLanes = StatisticsTiles::kLanes;
  const SequenceTile sequenceTile = p.tiles[blockX() / p.shape.heads];
  const QueryTile tile = queryTile(p.shape, sequenceTile, blockX() % p.shape.heads);
  QueryStatistics* statistics = p.statistics + tile.head * p.statisticsRows +
                                statisticsStart(sequenceTile.sequence, tile.queryOffset) +
                                tile.first;
  WGQA_UNROLL
  for (int first = 0; first < StatisticsTiles::kRows; first += StatisticsTiles::kThreads / kLanes) {
    const int row = first + threadIndex() / kLanes;
    const int lane = threadIndex() % kLanes;
    const bool isQuery = tile.first + row < tile.queries;
    const std::int64_t element = queryElement(p.shape, tile, row);
    const float delta =
        warpSum<kLanes>(isQuery ? deltaOfLane<GradOut, Out>(p, element, lane) : 0.0f);
    if (lane != 0) continue;
    const float logSum = isQuery ? p.logSumExp[element / p.shape.headDim] : 0.0f;
    statistics[row] = {logSum == kMinusInfinity ? kInfinity : kLog2E * logSum, delta};
  }
}

// ---------------------------------------------------------------------------- bias

WGQA_KERNEL void WGQA_BOUNDS(kBiasGradientThreads, 4) biasGradient(BiasGradientArguments p) {
  const int bucket = blockX();
  const int head = blockY();
  const float* partials = p.partials + (std::int64_t{head} * gridX() + bucket) * p.tiles;
  float sum = 0.0f;
  for (std::int64_t i = threadIndex(); i < p.tiles; i += blockThreads()) sum += partials[i];
  sum = blockSum(sum, dynamicShared<float>());
  if (threadIndex() == 0) p.gradBiasTable[std::int64_t{bucket} * gridY() + head] += sum;
}

// ---------------------------------------------------------------------------- queries

/// All threads of the block: the statistics of its queries, 0 where there is none. A barrier must
/// follow.
template <int kQueries>
WGQA_DEVICE void loadStatistics(const AttentionTensorBackwardArguments& p, const QueryTile& tile,
                                int sequence, QueryStatistics* rows) {
  const QueryStatistics* first =
      p.statistics + tile.head * p.statisticsRows + statisticsStart(sequence, tile.queryOffset);
  for (int row = threadIndex(); row < kQueries; row += blockThreads()) {
    const int query = tile.first + row;
    const bool isQuery = query >= 0 && query < tile.queries;
    rows[row] = isQuery ? first[query] : QueryStatistics{0.0f, 0.0f};
  }
}

/// The gradient of a score, given that of its probability, dropout's share included.
WGQA_DEVICE float scoreGradient(float score, const ScoreTerms& terms, const QueryStatistics& query,
                                float gradProbability) {
  const float probability =
      fastExp2(fusedMultiplyAdd(score, terms.factor, terms.offset - query.logSum));
  return probability * (gradProbability - query.delta);
}

template <int kHeadDim, bool kDropout, typename Tiles = QueryGradientTiles<kHeadDim>>
WGQA_DEVICE void stepKeys(const AttentionTensorBackwardArguments& p, const WarpQueries& warp,
                          int firstKey, const unsigned char* shared,
                          float (&gradQ)[Tiles::kRowTiles][kHeadDim / 8][4]) {
  constexpr int kRowBytes = TileLayout<kHeadDim>::kRowBytes;
  constexpr int kColumnTiles = Tiles::kStepKeys / 8;
  const auto* rows = reinterpret_cast<const QueryStatistics*>(shared + Tiles::kStatisticsAt);
  const int place = firstKey % (Tiles::kKeys * Tiles::kStages) * kRowBytes;
  float scores[Tiles::kRowTiles][kColumnTiles][4] = {};
  multiplyRows<kHeadDim>({shared, warp.row * kRowBytes}, {shared + Tiles::kKeysAt, place}, scores);
  const ScoreTerms terms =
      addBias<true>(p.shape.bias, reinterpret_cast<const float*>(shared + Tiles::kBiasAt),
                    p.shape.scale * kLog2E, firstKey - warp.position, scores);
  maskKeys(p.shape.causal, warp.position, firstKey, warp.keys, scores);
  float grads[Tiles::kRowTiles][kColumnTiles][4] = {};
  multiplyRows<kHeadDim>({shared + Tiles::kGradOutAt, warp.row * kRowBytes},
                         {shared + Tiles::kValuesAt, place}, grads);
  if constexpr (kDropout) {
    const std::uint32_t kept = keptOfKeyColumns<Tiles::kRowTiles, kColumnTiles>(
        p.shape.dropout, warp.dropoutRow, p.shape.heads, firstKey);
    applyKept(kept, p.shape.dropout.keptScale, grads);
  }
  WGQA_UNROLL
  for (int r = 0; r < 2 * Tiles::kRowTiles; ++r) {
    const QueryStatistics query = rows[warp.row + laneRow() + 8 * r];
    WGQA_UNROLL
    for (int i = 0; i < 2 * kColumnTiles; ++i) {
      float& grad = grads[r / 2][i / 2][r % 2 * 2 + i % 2];
      grad = scoreGradient(scores[r / 2][i / 2][r % 2 * 2 + i % 2], terms, query, grad);
    }
  }
  if (p.biasPartials != nullptr) {
    addToDistances(grads, firstKey - warp.position, distanceSums<Tiles>(p.shape.bias, warpIndex()));
  }
  multiplyFragment<kHeadDim>(grads, {shared + Tiles::kKeysAt, place}, gradQ);
}

template <int kHeadDim, bool kDropout>
WGQA_KERNEL void WGQA_BOUNDS(QueryGradientTiles<kHeadDim>::kThreads, 2)
    queryGradient(AttentionTensorBackwardArguments p) {
  using Tiles = QueryGradientTiles<kHeadDim>;
  auto* shared = dynamicShared<unsigned char>();
  const RelativeBiasArguments& bias = p.shape.bias;
  const QueryTile tile = blockTile(p);
  const WarpQueries warp =
      warpQueries<Tiles::kWarpQueries>(p.shape, tile, warpIndex() * Tiles::kWarpQueries);
  const int seenByBlock = keysSeen(p.shape, tile, 0, Tiles::kQueries);

  copyTile<Tiles::kQueries, kHeadDim, Tiles::kThreads>(shared, queryRows(p.shape, tile, p.q));
  copyTile<Tiles::kQueries, kHeadDim, Tiles::kThreads>(shared + Tiles::kGradOutAt,
                                                       queryRows(p.shape, tile, p.gradOut));
  if (seenByBlock > 0) copyKeys<Tiles, kHeadDim>(p, tile, 0, shared);
  commitCopies();
  loadBiasWindow(bias, tile.head, reinterpret_cast<float*>(shared + Tiles::kBiasAt));
  if (p.biasPartials != nullptr) clear(distanceSums<Tiles>(bias, warpIndex()));
  loadStatistics<Tiles::kQueries>(
      p, tile, p.tiles[blockX() / p.shape.heads].sequence,
      reinterpret_cast<QueryStatistics*>(shared + Tiles::kStatisticsAt));

  float gradQ[Tiles::kRowTiles][kHeadDim / 8][4] = {};
  for (int firstKey = 0; firstKey < seenByBlock; firstKey += Tiles::kStepKeys) {
    if (firstKey % Tiles::kKeys == 0) {
      waitForCopies<0>();
      blockBarrier();
      const int next = firstKey + Tiles::kKeys;
      if (next < seenByBlock) copyKeys<Tiles, kHeadDim>(p, tile, next, shared);
      commitCopies();
    }
    if (firstKey < warp.seen) {
      stepKeys<kHeadDim, kDropout>(p, warp, firstKey, shared, gradQ);
    }
  }
  waitForCopies<0>();
  storeQueries(p, blockTile(p), warp.row, gradQ);
  if (p.biasPartials != nullptr) {
    const int lastKey = (warp.seen - 1) / Tiles::kStepKeys * Tiles::kStepKeys;
    const std::int64_t tiles = gridX() / p.shape.heads;
    joinDistances(distanceSums<Tiles>(bias, warpIndex()), lastKey - warp.position);
    blockBarrier();
    storeBuckets<Tiles::kWarps>(bias, distanceSums<Tiles>(bias, 0), warpIndex(), tiles,
                                p.biasPartials +
                                    blockX() % p.shape.heads * bias.bucketCount * tiles +
                                    blockX() / p.shape.heads);
  }
}

// ---------------------------------------------------------------------------- keys

WGQA_DEVICE TileRows<BFloat16Element> ownKeyRows(const AttentionShapeArguments& shape,
                                                 const KeyTile& tile,
                                                 const BFloat16Element* tensor) {
  return {tensor + keyElement(shape, tile.keyOffset + tile.first, tile.kvHead),
          std::int64_t{shape.kvHeads} * shape.headDim, 0, tile.keys - tile.first, shape.headDim};
}

/// What a warp's steps need of its keys.
struct WarpKeys {
  int row;       // of the tile: the warp's row 0
  int key;       // in the sequence
  int distance;  // of it from query 0
  int queries;   // of the sequence, 0 where the warp has no keys

  /// Whether some of `count` queries see some of the keys.
  WGQA_DEVICE bool isSeen(bool causal, int query, int count) const {
    return query < queries && (!causal || distance < query + count);
  }
};

template <int kHeadDim>
WGQA_DEVICE void copyQueries(const AttentionTensorBackwardArguments& p, const KeyTile& tile,
                             const QueryCursor& cursor, int stage, unsigned char* shared) {
  using Tiles = KeyGradientTiles<kHeadDim>;
  const AttentionShapeArguments& shape = p.shape;
  const std::int64_t token = std::int64_t{tile.queryOffset} + cursor.query;
  const std::int64_t element = (token * shape.heads + cursor.head) * shape.headDim;
  TileRows<BFloat16Element> rows{p.q + element, std::int64_t{shape.heads} * shape.headDim, 0,
                                 tile.queries - cursor.query, shape.headDim};
  unsigned char* to = shared + stage * Tiles::kTileBytes;
  copyTile<Tiles::kQueries, kHeadDim, Tiles::kThreads>(to + Tiles::kQueriesAt, rows);
  rows.first = p.gradOut + element;
  copyTile<Tiles::kQueries, kHeadDim, Tiles::kThreads>(to + Tiles::kGradOutAt, rows);
  // Two statistics in 16 bytes.
  if (threadIndex() < Tiles::kQueries / 2) {
    const QueryStatistics* from = p.statistics + cursor.head * p.statisticsRows + tile.statistics +
                                  cursor.query + 2 * threadIndex();
    copyAsync16(
        shared + Tiles::kStatisticsAt + stage * Tiles::kStatisticsBytes + 16 * threadIndex(), from);
  }
}

template <int kHeadDim, bool kDropout, typename Tiles = KeyGradientTiles<kHeadDim>>
WGQA_DEVICE void stepQueries(const AttentionTensorBackwardArguments& p, const WarpKeys& warp,
                             int query, std::uint32_t dropoutRow, int stage,
                             const unsigned char* shared,
                             float (&gradK)[Tiles::kRowTiles][kHeadDim / 8][4],
                             float (&gradV)[Tiles::kRowTiles][kHeadDim / 8][4]) {
  constexpr int kRowBytes = TileLayout<kHeadDim>::kRowBytes;
  constexpr int kColumnTiles = Tiles::kStepQueries / 8;
  const int row = query % Tiles::kQueries;
  const int place = stage * Tiles::kTileBytes + row * kRowBytes;
  const auto* columns = reinterpret_cast<const QueryStatistics*>(shared + Tiles::kStatisticsAt +
                                                                 stage * Tiles::kStatisticsBytes) +
                        row + laneColumn();
  const int distance = warp.distance - query;
  std::uint32_t kept = 0;
  if constexpr (kDropout) {
    kept = keptOfKeyRows<Tiles::kRowTiles, kColumnTiles>(
        p.shape.dropout, dropoutRow + laneColumn() * p.shape.heads, p.shape.heads, warp.key);
  }
  float scores[Tiles::kRowTiles][kColumnTiles][4] = {};
  multiplyRows<kHeadDim>({shared, warp.row * kRowBytes}, {shared + Tiles::kQueriesAt, place},
                         scores);
  const ScoreTerms terms =
      addBias<false>(p.shape.bias, reinterpret_cast<const float*>(shared + Tiles::kBiasAt),
                     p.shape.scale * kLog2E, distance, scores);
  if (p.shape.causal) maskQueries(distance, scores);
  float grads[Tiles::kRowTiles][kColumnTiles][4] = {};
  multiplyRows<kHeadDim>({shared + Tiles::kValuesAt, warp.row * kRowBytes},
                         {shared + Tiles::kGradOutAt, place}, grads);
  if constexpr (kDropout) applyKept(kept, p.shape.dropout.keptScale, grads);
  exponentiateColumns(terms, columns, scores);
  differentiateColumns(columns, scores, grads);
  if constexpr (kDropout) applyKept(kept, 1.0f, scores);
  multiplyFragment<kHeadDim>(scores, {shared + Tiles::kGradOutAt, place}, gradV);
  multiplyFragment<kHeadDim>(grads, {shared + Tiles::kQueriesAt, place}, gradK);
}

WGQA_DEVICE WarpKeys warpKeys(const KeyTile& tile, int rows) {
  const int row = warpIndex() * rows;
  const int key = tile.first + row;
  return {row, key, key - tile.firstPosition, key < tile.keys ? tile.queries : 0};
}

/// All threads of the block: loads the bias of the head whose queries come next.
template <int kHeadDim>
WGQA_DEVICE void changeHead(const RelativeBiasArguments& bias, int head, unsigned char* shared) {
  if (bias.table == nullptr) return;
  loadBiasWindow(bias, head,
                 reinterpret_cast<float*>(shared + KeyGradientTiles<kHeadDim>::kBiasAt));
  blockBarrier();
}

// The next queries are under way while the block works on those before: all of one head, then those
// of the next head of the group.
template <int kHeadDim, bool kDropout>
WGQA_KERNEL void WGQA_BOUNDS(KeyGradientTiles<kHeadDim>::kThreads, kHeadDim == 64 ? 2 : 1)
    keyGradient(AttentionTensorBackwardArguments p) {
  using Tiles = KeyGradientTiles<kHeadDim>;
  auto* shared = dynamicShared<unsigned char>();
  const KeyTile tile = keyTile(p);
  const WarpKeys warp = warpKeys(tile, Tiles::kWarpKeys);
  const int afterLastHead = p.groups[tile.kvHead + 1];
  // Queries before the tile's first key see none of it.
  const int unseen = p.shape.causal ? tile.first - tile.firstPosition : 0;
  const int firstQuery = unseen < 0 ? 0 : unseen / Tiles::kQueries * Tiles::kQueries;
  QueryCursor cursor{firstQuery < tile.queries ? p.groups[tile.kvHead] : afterLastHead, firstQuery};

  copyTile<Tiles::kKeys, kHeadDim, Tiles::kThreads>(shared, ownKeyRows(p.shape, tile, p.k));
  copyTile<Tiles::kKeys, kHeadDim, Tiles::kThreads>(shared + Tiles::kValuesAt,
                                                    ownKeyRows(p.shape, tile, p.v));
  int stage = 0;
  if (cursor.head < afterLastHead) copyQueries<kHeadDim>(p, tile, cursor, stage ^ 1, shared);
  commitCopies();

  float gradK[Tiles::kRowTiles][kHeadDim / 8][4] = {};
  float gradV[Tiles::kRowTiles][kHeadDim / 8][4] = {};
  while (cursor.head < afterLastHead) {
    if (cursor.query % Tiles::kQueries == 0) {
      stage ^= 1;
      waitForCopies<0>();
      blockBarrier();
      const QueryCursor next = after(cursor, Tiles::kQueries, firstQuery, tile.queries);
      if (next.head < afterLastHead) copyQueries<kHeadDim>(p, tile, next, stage ^ 1, shared);
      commitCopies();
      if (cursor.query == firstQuery) changeHead<kHeadDim>(p.shape.bias, cursor.head, shared);
    }
    if (warp.isSeen(p.shape.causal, cursor.query, Tiles::kStepQueries)) {
      const auto token = static_cast<std::uint32_t>(tile.queryOffset + cursor.query);
      stepQueries<kHeadDim, kDropout>(p, warp, cursor.query, token * p.shape.heads + cursor.head,
                                      stage, shared, gradK, gradV);
    }
    cursor = after(cursor, Tiles::kStepQueries, firstQuery, tile.queries);
  }
  waitForCopies<0>();
  storeKeys(p, keyTile(p), warp.row, gradK, gradV);
}

}  // namespace

std::vector<KernelEntry> attentionTensorBackwardKernels() {
  return {
      kernelEntry<queryStatistics<float, float>>(kQueryStatistics[0][0]),
      kernelEntry<queryStatistics<float, BFloat16Element>>(kQueryStatistics[0][1]),
      kernelEntry<queryStatistics<BFloat16Element, float>>(kQueryStatistics[1][0]),
      kernelEntry<queryStatistics<BFloat16Element, BFloat16Element>>(kQueryStatistics[1][1]),
      kernelEntry<queryGradient<64, false>>(kQueryGradient64[0]),
      kernelEntry<queryGradient<64, true>>(kQueryGradient64[1]),
      kernelEntry<queryGradient<128, false>>(kQueryGradient128[0]),
      kernelEntry<queryGradient<128, true>>(kQueryGradient128[1]),
      kernelEntry<keyGradient<64, false>>(kKeyGradient64[0]),
      kernelEntry<keyGradient<64, true>>(kKeyGradient64[1]),
      kernelEntry<keyGradient<128, false>>(kKeyGradient128[0]),
      kernelEntry<keyGradient<128, true>>(kKeyGradient128[1]),
      kernelEntry<biasGradient>(kBiasGradient),
  };
}

}  // namespace wgqa::cuda
