// What the gradient kernels of attention on tensor cores share: a block's keys, its walk over
// queries, the step from scores to their gradients, and how results are stored.
#pragma once

#include "ops/cuda/kernels/attention_tensor_backward.h"

namespace wgqa::cuda {

/// Of a warp, from the tile's row `warpRow` on.
template <int kRowTiles, int kColumnTiles>
WGQA_DEVICE void storeQueries(const AttentionTensorBackwardArguments& p, const QueryTile& tile,
                              int warpRow, const float (&gradQ)[kRowTiles][kColumnTiles][4]) {
  float factors[2 * kRowTiles];
  WGQA_UNROLL
  for (float& factor : factors) factor = p.shape.scale;
  const int row = tile.first + warpRow;
  storeFragment(
      gradQ, factors, p.gradQ, p.gradsAreFloat32,
      {queryElement(p.shape, tile, warpRow), std::int64_t{p.shape.heads} * p.shape.headDim, -row,
       tile.queries - row, p.shape.headDim});
}

/// A block's keys and the queries of their sequence.
struct KeyTile {
  int kvHead;
  int queryOffset;    // token of the sequence's first query
  int keyOffset;      // token of its first key
  int queries;        // of the sequence
  int keys;           // of the sequence
  int first;          // key of the tile's row 0
  int firstPosition;  // of query 0 among the keys
  int statistics;     // place of query 0's among a head's
};

/// Block x: K/V head x % kvHeads of tile x / kvHeads. Asked for again where it is needed again.
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

/// A step of the block's walk over the queries of all heads of a group.
struct QueryCursor {
  int head;
  int query;
};

WGQA_DEVICE QueryCursor after(const QueryCursor& cursor, int step, int firstQuery, int queries) {
  const int query = cursor.query + step;
  return query < queries ? QueryCursor{cursor.head, query}
                         : QueryCursor{cursor.head + 1, firstQuery};
}

// Where rows are keys and columns queries; `columns`: of the lane's first column.

/// step(m, n, i, query) for element i of fragment m, n and the statistics of its column.
template <int kRowTiles, int kColumnTiles, typename Step>
WGQA_DEVICE void forEachScore(const QueryStatistics* columns, const Step& step) {
  WGQA_UNROLL
  for (int n = 0; n < kColumnTiles; ++n) {
    const auto pair = loadVector<4>(reinterpret_cast<const float*>(columns + 8 * n));
    WGQA_UNROLL
    for (int m = 0; m < kRowTiles; ++m) {
      WGQA_UNROLL
      for (int i = 0; i < 4; ++i) {
        step(m, n, i, QueryStatistics{pair.elements[i % 2 * 2], pair.elements[i % 2 * 2 + 1]});
      }
    }
  }
}

/// Scores become probabilities.
template <int kRowTiles, int kColumnTiles>
WGQA_DEVICE void exponentiateColumns(const ScoreTerms& terms, const QueryStatistics* columns,
                                     float (&scores)[kRowTiles][kColumnTiles][4]) {
  forEachScore<kRowTiles, kColumnTiles>(
      columns, [&](int m, int n, int i, const QueryStatistics& query) {
        scores[m][n][i] =
            fastExp2(fusedMultiplyAdd(scores[m][n][i], terms.factor, terms.offset - query.logSum));
      });
}

/// The gradients of probabilities become those of scores.
template <int kRowTiles, int kColumnTiles>
WGQA_DEVICE void differentiateColumns(const QueryStatistics* columns,
                                      const float (&probabilities)[kRowTiles][kColumnTiles][4],
                                      float (&grads)[kRowTiles][kColumnTiles][4]) {
  forEachScore<kRowTiles, kColumnTiles>(
      columns, [&](int m, int n, int i, const QueryStatistics& query) {
        grads[m][n][i] = probabilities[m][n][i] * (grads[m][n][i] - query.delta);
      });
}

/// Of a warp, from the tile's row `warpRow` on.
template <int kRowTiles, int kColumnTiles>
WGQA_DEVICE void storeKeys(const AttentionTensorBackwardArguments& p, const KeyTile& tile,
                           int warpRow, const float (&gradK)[kRowTiles][kColumnTiles][4],
                           const float (&gradV)[kRowTiles][kColumnTiles][4]) {
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

}  // namespace wgqa::cuda
