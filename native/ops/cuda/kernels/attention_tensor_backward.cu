// The gradient of attention on tensor cores, after FlashAttention-2 (Dao 2023, arXiv 2307.08691):
// probabilities are computed again from the softmax's sums. Keys' and queries' gradients have a
// kernel each, whose blocks own what they add to: no block waits for another, every sum has one
// order, and probabilities stay in registers, at the price of computing them twice.
#include "ops/cuda/kernels/attention_tensor_backward.h"

#include "ops/cuda/kernels/reduce.h"
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
    statistics[row] = {logSum == -INFINITY ? INFINITY : kLog2E * logSum, delta};
  }
}

// ---------------------------------------------------------------------------- bias

/// A warp's sums of the gradients of scores by distance, as a lane keeps them.
struct DistanceSums {
  float before;   // its part of the sum of the distances up to -reach
  float after;    // and of those from reach on
  float pending;  // of distance pendingDistance + lane: the next fragment may have more of it
  int pendingDistance;
};

/// What of them lies in shared memory; worked out where it is needed, rather than kept in registers.
struct DistanceSpace {
  float* rows;  // [8, 32]
  float* sums;  // [2 * reach + 1]
  int reach;
};

template <int kHeadDim>
WGQA_DEVICE DistanceSpace distanceSpace(const RelativeBiasArguments& bias, int warp) {
  using Tiles = QueryGradientTiles<kHeadDim>;
  auto* shared = dynamicShared<unsigned char>();
  auto* window = reinterpret_cast<float*>(shared + Tiles::kBiasAt);
  return {reinterpret_cast<float*>(shared + Tiles::kDiagonalsAt) + warp * Tiles::kDiagonalFloats,
          window + biasWindowFloats(bias.reach) + warp * (2 * bias.reach + 1), bias.reach};
}

WGQA_DEVICE void clear(const DistanceSpace& space) {
  for (int i = laneIndex(); i < 2 * space.reach + 1; i += kWarpThreads) space.sums[i] = 0.0f;
  warpBarrier();
}

// A warp meets a distance between -reach and reach once.
WGQA_DEVICE void settle(const DistanceSpace& space, int distance, float sum, DistanceSums& sums) {
  if (distance <= -space.reach) {
    sums.before += sum;
  } else if (distance >= space.reach) {
    sums.after += sum;
  } else {
    space.sums[distance + space.reach] += sum;
  }
}

WGQA_DEVICE void settlePending(const DistanceSpace& space, DistanceSums& sums) {
  settle(space, sums.pendingDistance + laneIndex(), sums.pending, sums);
  sums.pending = 0.0f;
}

template <int kRowTiles, int kColumnTiles>
WGQA_DEVICE float sumOfLane(const float (&values)[kRowTiles][kColumnTiles][4]) {
  float sum = 0.0f;
  WGQA_UNROLL
  for (int m = 0; m < kRowTiles; ++m) {
    WGQA_UNROLL
    for (int n = 0; n < kColumnTiles; ++n) {
      sum += (values[m][n][0] + values[m][n][1]) + (values[m][n][2] + values[m][n][3]);
    }
  }
  return sum;
}

// The scores of one distance lie on a diagonal of a fragment. Eight of its rows lie in shared memory
// at a time, row i turned by 8 i places so that neither their writers nor the walks along diagonals
// meet in a bank. Lane l walks over the columns (row + l) % 32: first on the diagonal that begins at
// column l, then on the one that ends there.
template <int kRowTiles>
WGQA_DEVICE void addDiagonals(const float (&grads)[kRowTiles][4][4], int distance,
                              const DistanceSpace& space, DistanceSums& sums) {
  if (sums.pendingDistance != distance - 32) settlePending(space, sums);
  const int lane = laneIndex();
  float ending = sums.pending;
  float beginning = 0.0f;
  WGQA_UNROLL
  for (int r = 0; r < 2 * kRowTiles; ++r) {
    warpBarrier();
    WGQA_UNROLL
    for (int n = 0; n < 4; ++n) {
      const int column = (8 * n + laneColumn() + 8 * laneRow()) % 32;
      const float* pair = &grads[r / 2][n][r % 2 * 2];
      storeVector(space.rows + 32 * laneRow() + column, Vector<float, 2>{{pair[0], pair[1]}});
    }
    warpBarrier();
    WGQA_UNROLL
    for (int i = 0; i < 8; ++i) {
      const int row = 8 * r + i;
      const float value = space.rows[32 * i + (row + lane + 8 * i) % 32];
      (row + lane < 32 ? beginning : ending) += value;
    }
  }
  settle(space, distance + lane - 32, ending, sums);
  sums.pending = beginning;
  sums.pendingDistance = distance;
}

/// Adds a fragment whose row 0 and column 0 are `distance` apart.
template <int kRowTiles>
WGQA_DEVICE void addToDistances(const float (&grads)[kRowTiles][4][4], int distance,
                                const DistanceSpace& space, DistanceSums& sums) {
  const int side = distancesFrom<true, 16 * kRowTiles, 32>(distance).side(space.reach);
  if (side == 0) return addDiagonals(grads, distance, space, sums);
  (side < 0 ? sums.before : sums.after) += sumOfLane(grads);
}

/// All threads of the block, after all is added: sums by bucket, to partials[bucket * stride].
template <int kHeadDim>
WGQA_DEVICE void storeBuckets(const RelativeBiasArguments& bias, DistanceSums& sums,
                              std::int64_t stride, float* partials) {
  constexpr int kWarps = QueryGradientTiles<kHeadDim>::kWarps;
  const DistanceSpace space = distanceSpace<kHeadDim>(bias, warpIndex());
  const int distances = 2 * bias.reach + 1;
  settlePending(space, sums);
  const float before = warpSum(sums.before);
  const float after = warpSum(sums.after);
  if (laneIndex() == 0) {
    space.sums[0] += before;
    space.sums[distances - 1] += after;
  }
  blockBarrier();
  const float* ofWarps = distanceSpace<kHeadDim>(bias, 0).sums;
  for (int bucket = warpIndex(); bucket < bias.bucketCount; bucket += kWarps) {
    float sum = 0.0f;
    for (int place = laneIndex(); place < distances; place += kWarpThreads) {
      if (bias.buckets[place] != bucket) continue;
      for (int warp = 0; warp < kWarps; ++warp) sum += ofWarps[warp * distances + place];
    }
    sum = warpSum(sum);
    if (laneIndex() == 0) partials[bucket * stride] = sum;
  }
}

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
  const QueryStatistics* first = p.statistics + tile.head * p.statisticsRows +
                                 statisticsStart(sequence, tile.queryOffset);
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

template <int kHeadDim>
WGQA_DEVICE void copyKeys(const AttentionTensorBackwardArguments& p, const QueryTile& tile,
                          int firstKey, unsigned char* shared) {
  using Tiles = QueryGradientTiles<kHeadDim>;
  unsigned char* stage = shared + firstKey / Tiles::kKeys % Tiles::kStages * Tiles::kTileBytes;
  copyTile<Tiles::kKeys, kHeadDim, Tiles::kThreads>(stage + Tiles::kKeysAt,
                                                    keyRows(p.shape, tile, p.k, firstKey));
  copyTile<Tiles::kKeys, kHeadDim, Tiles::kThreads>(stage + Tiles::kValuesAt,
                                                    keyRows(p.shape, tile, p.v, firstKey));
}

template <int kHeadDim, bool kDropout, typename Tiles = QueryGradientTiles<kHeadDim>>
WGQA_DEVICE void stepKeys(const AttentionTensorBackwardArguments& p, const QueryTile& tile,
                          int warpRow, int firstKey, const unsigned char* shared,
                          DistanceSums& sums, float (&gradQ)[Tiles::kRowTiles][kHeadDim / 8][4]) {
  constexpr int kRowBytes = TileLayout<kHeadDim>::kRowBytes;
  constexpr int kColumnTiles = Tiles::kStepKeys / 8;
  const auto* rows = reinterpret_cast<const QueryStatistics*>(shared + Tiles::kStatisticsAt);
  const unsigned char* keys =
      shared + Tiles::kKeysAt + firstKey % (Tiles::kKeys * Tiles::kStages) * kRowBytes;
  std::uint32_t kept = 0;
  if constexpr (kDropout) {
    kept = keptOfQueries<Tiles::kRowTiles, kColumnTiles>(p.shape, tile, warpRow, firstKey);
  }
  float scores[Tiles::kRowTiles][kColumnTiles][4] = {};
  multiplyRows<kHeadDim>(shared + warpRow * kRowBytes, keys, scores);
  const int position = tile.position + warpRow;
  const ScoreTerms terms =
      addBias<true>(p.shape.bias, reinterpret_cast<const float*>(shared + Tiles::kBiasAt),
                    p.shape.scale * kLog2E, firstKey - position, scores);
  maskKeys(p.shape.causal, position, firstKey, tile.keys, scores);
  float grads[Tiles::kRowTiles][kColumnTiles][4] = {};
  multiplyRows<kHeadDim>(shared + Tiles::kGradOutAt + warpRow * kRowBytes,
                         keys + Tiles::kValuesAt - Tiles::kKeysAt, grads);
  if constexpr (kDropout) applyKept(kept, p.shape.dropout.keptScale, grads);
  WGQA_UNROLL
  for (int r = 0; r < 2 * Tiles::kRowTiles; ++r) {
    const QueryStatistics query = rows[warpRow + laneRow() + 8 * r];
    WGQA_UNROLL
    for (int i = 0; i < 2 * kColumnTiles; ++i) {
      float& grad = grads[r / 2][i / 2][r % 2 * 2 + i % 2];
      grad = scoreGradient(scores[r / 2][i / 2][r % 2 * 2 + i % 2], terms, query, grad);
    }
  }
  if (p.biasPartials != nullptr) {
    addToDistances(grads, firstKey - position, distanceSpace<kHeadDim>(p.shape.bias, warpIndex()),
                   sums);
  }
  multiplyFragment<kHeadDim>(grads, keys, gradQ);
}

/// Asked for again where it is needed again, rather than kept in registers.
WGQA_DEVICE QueryTile blockTile(const AttentionTensorBackwardArguments& p) {
  return queryTile(p.shape, p.tiles[blockX() / p.shape.heads], blockX() % p.shape.heads);
}

template <int kHeadDim, int kRowTiles>
WGQA_DEVICE void storeQueries(const AttentionTensorBackwardArguments& p, const QueryTile& tile,
                              int warpRow, const float (&gradQ)[kRowTiles][kHeadDim / 8][4]) {
  float factors[2 * kRowTiles];
  WGQA_UNROLL
  for (float& factor : factors) factor = p.shape.scale;
  const int row = tile.first + warpRow;
  storeFragment(
      gradQ, factors, p.gradQ, p.gradsAreFloat32,
      {queryElement(p.shape, tile, warpRow), std::int64_t{p.shape.heads} * p.shape.headDim, -row,
       tile.queries - row, p.shape.headDim});
}

template <int kHeadDim, bool kDropout>
WGQA_KERNEL void WGQA_BOUNDS(QueryGradientTiles<kHeadDim>::kThreads, 2)
    queryGradient(AttentionTensorBackwardArguments p) {
  using Tiles = QueryGradientTiles<kHeadDim>;
  auto* shared = dynamicShared<unsigned char>();
  const RelativeBiasArguments& bias = p.shape.bias;
  const QueryTile tile = blockTile(p);
  const int warpRow = warpIndex() * Tiles::kWarpQueries;
  const int seenByBlock = keysSeen(p.shape, tile, 0, Tiles::kQueries);
  const int seenByWarp = keysSeen(p.shape, tile, warpRow, Tiles::kWarpQueries);

  copyTile<Tiles::kQueries, kHeadDim, Tiles::kThreads>(shared, queryRows(p.shape, tile, p.q));
  copyTile<Tiles::kQueries, kHeadDim, Tiles::kThreads>(shared + Tiles::kGradOutAt,
                                                       queryRows(p.shape, tile, p.gradOut));
  if (seenByBlock > 0) copyKeys<kHeadDim>(p, tile, 0, shared);
  commitCopies();
  loadBiasWindow(bias, tile.head, reinterpret_cast<float*>(shared + Tiles::kBiasAt));
  if (p.biasPartials != nullptr) clear(distanceSpace<kHeadDim>(bias, warpIndex()));
  DistanceSums sums{};
  loadStatistics<Tiles::kQueries>(
      p, tile, p.tiles[blockX() / p.shape.heads].sequence,
      reinterpret_cast<QueryStatistics*>(shared + Tiles::kStatisticsAt));

  float gradQ[Tiles::kRowTiles][kHeadDim / 8][4] = {};
  for (int firstKey = 0; firstKey < seenByBlock; firstKey += Tiles::kStepKeys) {
    if (firstKey % Tiles::kKeys == 0) {
      waitForCopies<0>();
      blockBarrier();
      const int next = firstKey + Tiles::kKeys;
      if (next < seenByBlock) copyKeys<kHeadDim>(p, tile, next, shared);
      commitCopies();
    }
    if (firstKey < seenByWarp) {
      stepKeys<kHeadDim, kDropout>(p, tile, warpRow, firstKey, shared, sums, gradQ);
    }
  }
  waitForCopies<0>();
  storeQueries<kHeadDim>(p, blockTile(p), warpRow, gradQ);
  if (p.biasPartials != nullptr) {
    const std::int64_t tiles = gridX() / p.shape.heads;
    const int head = blockX() % p.shape.heads;
    storeBuckets<kHeadDim>(bias, sums, tiles,
                           p.biasPartials + std::int64_t{head} * bias.bucketCount * tiles +
                               blockX() / p.shape.heads);
  }
}

// ---------------------------------------------------------------------------- keys

/// A block's keys and the queries of their sequence.
struct KeyTile {
  int kvHead;
  int queryOffset;          // token of the sequence's first query
  int keyOffset;            // token of its first key
  int queries;              // of the sequence
  int keys;                 // of the sequence
  int first;                // key of the tile's row 0
  int firstPosition;        // of query 0 among the keys
  int statistics;         // place of query 0's among a head's
};

WGQA_DEVICE KeyTile keyTile(const AttentionTensorBackwardArguments& p) {
  const AttentionShapeArguments& shape = p.shape;
  const SequenceTile tile = p.tiles[blockX() / shape.kvHeads];
  const int queryOffset = shape.queryOffsets[tile.sequence];
  const int keyOffset = shape.keyOffsets[tile.sequence];
  return {blockX() % shape.kvHeads,
          queryOffset,
          keyOffset,
          shape.queryOffsets[tile.sequence + 1] - queryOffset,
          shape.keyOffsets[tile.sequence + 1] - keyOffset,
          tile.first,
          shape.firstPositions[tile.sequence],
          statisticsStart(tile.sequence, queryOffset)};
}

WGQA_DEVICE TileRows ownKeyRows(const AttentionShapeArguments& shape, const KeyTile& tile,
                                const BFloat16Element* tensor) {
  return {tensor + keyElement(shape, tile.keyOffset + tile.first, tile.kvHead),
          std::int64_t{shape.kvHeads} * shape.headDim, 0, tile.keys - tile.first, shape.headDim};
}

/// Queries of one head that the block takes next.
struct QueryCursor {
  int head;
  int query;
};

template <int kHeadDim>
WGQA_DEVICE void copyQueries(const AttentionTensorBackwardArguments& p, const KeyTile& tile,
                             const QueryCursor& cursor, int stage, unsigned char* shared) {
  using Tiles = KeyGradientTiles<kHeadDim>;
  const AttentionShapeArguments& shape = p.shape;
  const std::int64_t token = std::int64_t{tile.queryOffset} + cursor.query;
  const std::int64_t element = (token * shape.heads + cursor.head) * shape.headDim;
  TileRows rows{p.q + element, std::int64_t{shape.heads} * shape.headDim, 0,
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

/// Which scores of a step dropout keeps, for applyKept().
template <int kRowTiles, int kColumnTiles>
WGQA_DEVICE std::uint32_t keptByKey(const AttentionShapeArguments& shape, const KeyTile& tile,
                                    const QueryCursor& cursor, int firstKey) {
  const int token = tile.queryOffset + cursor.query + laneColumn();
  return keptOfKeyRows<kRowTiles, kColumnTiles>(
      shape.dropout, static_cast<std::uint32_t>(token) * shape.heads + cursor.head, shape.heads,
      firstKey);
}

/// Scores become probabilities, the gradients of probabilities those of scores.
template <int kRowTiles, int kColumnTiles>
WGQA_DEVICE void differentiate(const ScoreTerms& terms, const QueryStatistics* columns,
                               float (&scores)[kRowTiles][kColumnTiles][4],
                               float (&grads)[kRowTiles][kColumnTiles][4]) {
  WGQA_UNROLL
  for (int n = 0; n < kColumnTiles; ++n) {
    const auto pair = loadVector<4>(reinterpret_cast<const float*>(columns + 8 * n));
    WGQA_UNROLL
    for (int m = 0; m < kRowTiles; ++m) {
      WGQA_UNROLL
      for (int i = 0; i < 4; ++i) {
        const float logSum = pair.elements[i % 2 * 2];
        const float delta = pair.elements[i % 2 * 2 + 1];
        float& score = scores[m][n][i];
        score = fastExp2(fusedMultiplyAdd(score, terms.factor, terms.offset - logSum));
        grads[m][n][i] = score * (grads[m][n][i] - delta);
      }
    }
  }
}

template <int kHeadDim, bool kDropout, typename Tiles = KeyGradientTiles<kHeadDim>>
WGQA_DEVICE void stepQueries(const AttentionTensorBackwardArguments& p, const KeyTile& tile,
                             const QueryCursor& cursor, int warpRow, int stage,
                             const unsigned char* shared,
                             float (&gradK)[Tiles::kRowTiles][kHeadDim / 8][4],
                             float (&gradV)[Tiles::kRowTiles][kHeadDim / 8][4]) {
  constexpr int kRowBytes = TileLayout<kHeadDim>::kRowBytes;
  constexpr int kColumnTiles = Tiles::kStepQueries / 8;
  const int place = cursor.query % Tiles::kQueries;
  const unsigned char* queries =
      shared + Tiles::kQueriesAt + stage * Tiles::kTileBytes + place * kRowBytes;
  const unsigned char* gradOut = queries + Tiles::kGradOutAt - Tiles::kQueriesAt;
  const auto* columns = reinterpret_cast<const QueryStatistics*>(shared + Tiles::kStatisticsAt +
                                                                 stage * Tiles::kStatisticsBytes) +
                        place + laneColumn();
  const int distance = tile.first + warpRow - tile.firstPosition - cursor.query;
  std::uint32_t kept = 0;
  if constexpr (kDropout) {
    kept = keptByKey<Tiles::kRowTiles, kColumnTiles>(p.shape, tile, cursor, tile.first + warpRow);
  }
  float scores[Tiles::kRowTiles][kColumnTiles][4] = {};
  multiplyRows<kHeadDim>(shared + warpRow * kRowBytes, queries, scores);
  const ScoreTerms terms =
      addBias<false>(p.shape.bias, reinterpret_cast<const float*>(shared + Tiles::kBiasAt),
                     p.shape.scale * kLog2E, distance, scores);
  if (p.shape.causal) maskQueries(distance, scores);
  float grads[Tiles::kRowTiles][kColumnTiles][4] = {};
  multiplyRows<kHeadDim>(shared + Tiles::kValuesAt + warpRow * kRowBytes, gradOut, grads);
  if constexpr (kDropout) applyKept(kept, p.shape.dropout.keptScale, grads);
  differentiate(terms, columns, scores, grads);
  if constexpr (kDropout) applyKept(kept, 1.0f, scores);
  multiplyFragment<kHeadDim>(scores, gradOut, gradV);
  multiplyFragment<kHeadDim>(grads, queries, gradK);
}

template <int kHeadDim, int kRowTiles>
WGQA_DEVICE void storeKeys(const AttentionTensorBackwardArguments& p, const KeyTile& tile,
                           int warpRow, const float (&gradK)[kRowTiles][kHeadDim / 8][4],
                           const float (&gradV)[kRowTiles][kHeadDim / 8][4]) {
  const FragmentPlace place{keyElement(p.shape, tile.keyOffset + tile.first + warpRow, tile.kvHead),
                            std::int64_t{p.shape.kvHeads} * p.shape.headDim, 0,
                            tile.keys - tile.first - warpRow, p.shape.headDim};
  float factors[2 * kRowTiles];
  WGQA_UNROLL
  for (float& factor : factors) factor = p.shape.scale;
  storeFragment(gradK, factors, p.gradK, p.gradsAreFloat32, place);
  WGQA_UNROLL
  for (float& factor : factors) factor = p.shape.dropout.keptScale;
  storeFragment(gradV, factors, p.gradV, p.gradsAreFloat32, place);
}

// The next queries are under way while the block works on those before: all of one head, then those
// of the next head of the group.
template <int kHeadDim, bool kDropout>
WGQA_KERNEL void WGQA_BOUNDS(KeyGradientTiles<kHeadDim>::kThreads, kHeadDim == 64 ? 2 : 1)
    keyGradient(AttentionTensorBackwardArguments p) {
  using Tiles = KeyGradientTiles<kHeadDim>;
  auto* shared = dynamicShared<unsigned char>();
  auto* window = reinterpret_cast<float*>(shared + Tiles::kBiasAt);
  const KeyTile tile = keyTile(p);
  const int warpRow = warpIndex() * Tiles::kWarpKeys;
  const int afterLastHead = p.groups[tile.kvHead + 1];
  // Queries before the tile's first key see none of it.
  const int unseen = p.shape.causal ? tile.first - tile.firstPosition : 0;
  const int firstQuery = unseen < 0 ? 0 : unseen / Tiles::kQueries * Tiles::kQueries;
  QueryCursor cursor{p.groups[tile.kvHead], firstQuery};
  if (firstQuery >= tile.queries) cursor.head = afterLastHead;

  copyTile<Tiles::kKeys, kHeadDim, Tiles::kThreads>(shared, ownKeyRows(p.shape, tile, p.k));
  copyTile<Tiles::kKeys, kHeadDim, Tiles::kThreads>(shared + Tiles::kValuesAt,
                                                    ownKeyRows(p.shape, tile, p.v));
  if (cursor.head < afterLastHead) copyQueries<kHeadDim>(p, tile, cursor, 0, shared);
  commitCopies();

  float gradK[Tiles::kRowTiles][kHeadDim / 8][4] = {};
  float gradV[Tiles::kRowTiles][kHeadDim / 8][4] = {};
  int stage = 0;
  while (cursor.head < afterLastHead) {
    waitForCopies<0>();
    blockBarrier();
    QueryCursor next{cursor.head, cursor.query + Tiles::kQueries};
    if (next.query >= tile.queries) next = {cursor.head + 1, firstQuery};
    if (next.head < afterLastHead) copyQueries<kHeadDim>(p, tile, next, stage ^ 1, shared);
    commitCopies();
    if (p.shape.bias.table != nullptr && cursor.query == firstQuery) {
      loadBiasWindow(p.shape.bias, cursor.head, window);
      blockBarrier();
    }
    for (int i = 0; i < Tiles::kQueries; i += Tiles::kStepQueries) {
      const QueryCursor step{cursor.head, cursor.query + i};
      const int lastPosition = tile.firstPosition + step.query + Tiles::kStepQueries - 1;
      const bool isSeen = !p.shape.causal || tile.first + warpRow <= lastPosition;
      if (tile.first + warpRow < tile.keys && step.query < tile.queries && isSeen) {
        stepQueries<kHeadDim, kDropout>(p, tile, step, warpRow, stage, shared, gradK, gradV);
      }
    }
    cursor = next;
    stage ^= 1;
  }
  waitForCopies<0>();
  storeKeys<kHeadDim>(p, keyTile(p), warpRow, gradK, gradV);
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
