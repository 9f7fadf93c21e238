// What stands between the products of attention on tensor cores: T5's bias, the causal mask and
// dropout, on a warp's fragment of scores (tensor_tile.h). In the forward pass and for the queries'
// gradient a fragment's columns are keys, for the keys' gradient its rows are.
#pragma once

#include "ops/cuda/kernels/attention_shape.h"
#include "ops/cuda/kernels/constants.h"
#include "ops/cuda/kernels/tensor_tile.h"

namespace wgqa::cuda {

// ---------------------------------------------------------------------------- tiles of queries

/// A block's queries and the keys of their sequence.
struct QueryTile {
  int head;
  int kvHead;
  int queryOffset;  // token of the sequence's first query
  int keyOffset;    // token of its first key
  int queries;      // of the sequence
  int keys;         // of the sequence
  int first;        // query of the tile's row 0; may be negative
  int position;     // of row 0 among the keys
};

WGQA_DEVICE QueryTile queryTile(const AttentionShapeArguments& shape, const SequenceTile& tile,
                                int head) {
  const int queryOffset = shape.queryOffsets[tile.sequence];
  const int keyOffset = shape.keyOffsets[tile.sequence];
  return {head,
          shape.kvHeadOf[head],
          queryOffset,
          keyOffset,
          shape.queryOffsets[tile.sequence + 1] - queryOffset,
          shape.keyOffsets[tile.sequence + 1] - keyOffset,
          tile.first,
          shape.firstPositions[tile.sequence] + tile.first};
}

/// Keys that some of `rows` queries from the tile's row `row` on see.
WGQA_DEVICE int keysSeen(const AttentionShapeArguments& shape, const QueryTile& tile, int row,
                         int rows) {
  const int first = tile.first + row;
  const int last = (first + rows < tile.queries ? first + rows : tile.queries) - 1;
  if (last < 0 || last < first) return 0;
  if (!shape.causal) return tile.keys;
  const int seen = tile.position - tile.first + last + 1;
  return seen < 0 ? 0 : seen < tile.keys ? seen : tile.keys;
}

/// Row `row` of the tile in a tensor of [tokens, heads, headDim].
WGQA_DEVICE std::int64_t queryElement(const AttentionShapeArguments& shape, const QueryTile& tile,
                                      int row) {
  const std::int64_t token = std::int64_t{tile.queryOffset} + tile.first + row;
  return (token * shape.heads + tile.head) * shape.headDim;
}

WGQA_DEVICE std::int64_t keyElement(const AttentionShapeArguments& shape, int keyToken,
                                    int kvHead) {
  return (std::int64_t{keyToken} * shape.kvHeads + kvHead) * shape.headDim;
}

template <typename T>
WGQA_DEVICE TileRows<T> queryRows(const AttentionShapeArguments& shape, const QueryTile& tile,
                                  const T* tensor) {
  return {tensor + queryElement(shape, tile, 0), std::int64_t{shape.heads} * shape.headDim,
          -tile.first, tile.queries - tile.first, shape.headDim};
}

template <typename T>
WGQA_DEVICE TileRows<T> keyRows(const AttentionShapeArguments& shape, const QueryTile& tile,
                                const T* tensor, int firstKey) {
  return {tensor + keyElement(shape, tile.keyOffset + firstKey, tile.kvHead),
          std::int64_t{shape.kvHeads} * shape.headDim, 0, tile.keys - firstKey, shape.headDim};
}

/// All threads of the block begin to copy the keys from firstKey on, and their values, to the stage
/// that is theirs.
template <typename Tiles, int kHeadDim, typename Arguments>
WGQA_DEVICE void copyKeys(const Arguments& p, const QueryTile& tile, int firstKey,
                          unsigned char* shared) {
  unsigned char* stage = shared + firstKey / Tiles::kKeys % Tiles::kStages * Tiles::kTileBytes;
  copyTile<Tiles::kKeys, kHeadDim, Tiles::kThreads>(stage + Tiles::kKeysAt,
                                                    keyRows(p.shape, tile, p.k, firstKey));
  copyTile<Tiles::kKeys, kHeadDim, Tiles::kThreads>(stage + Tiles::kValuesAt,
                                                    keyRows(p.shape, tile, p.v, firstKey));
}

/// The block's tile, where blocks are heads of tiles. Asked for again where it is needed again,
/// rather than kept in registers.
template <typename Arguments>
WGQA_DEVICE QueryTile blockTile(const Arguments& p) {
  return queryTile(p.shape, p.tiles[blockX() / p.shape.heads], blockX() % p.shape.heads);
}

/// What a warp's steps over the keys need of its queries: kRows of the tile's rows.
struct WarpQueries {
  int row;                   // of the tile: the warp's row 0
  int position;              // of that row among the keys
  int keys;                  // of the sequence
  int seen;                  // keys that some of the rows see
  std::uint32_t dropoutRow;  // of the lane's first row
};

/// Of the warp whose first row of the tile is `row`.
template <int kRows>
WGQA_DEVICE WarpQueries warpQueries(const AttentionShapeArguments& shape, const QueryTile& tile,
                                    int row) {
  const int token = tile.queryOffset + tile.first + row + laneRow();
  return {row, tile.position + row, tile.keys, keysSeen(shape, tile, row, kRows),
          static_cast<std::uint32_t>(token) * shape.heads + tile.head};
}

// ---------------------------------------------------------------------------- bias

/// A warp's fragment reaches at most this much farther than the nearest distance in it.
inline constexpr int kBiasMargin = 96;

/// Floats of shared memory of one head's bias by distance, `reach` and a margin to either side.
WGQA_DEVICE int biasWindowFloats(int reach) { return 2 * (reach + kBiasMargin) + 1; }

/// Thread `thread` of `threads`: fills it, in log2 units. A barrier of them must follow.
WGQA_DEVICE void loadBiasWindow(const RelativeBiasArguments& bias, int head, float* window,
                                int thread, int threads) {
  if (bias.table == nullptr) return;
  for (int i = thread; i < biasWindowFloats(bias.reach); i += threads) {
    const int place = distancePlace(i - bias.reach - kBiasMargin, bias.reach);
    window[i] = kLog2E * bias.table[bias.buckets[place] * bias.heads + head];
  }
}
/// The same by all threads of the block.
WGQA_DEVICE void loadBiasWindow(const RelativeBiasArguments& bias, int head, float* window) {
  loadBiasWindow(bias, head, window, threadIndex(), blockThreads());
}

/// Which distances (key - query) lie in a fragment.
struct Distances {
  int lowest;
  int highest;

  /// -1, 1: all have the bias of the farthest to that side; 0: they differ.
  WGQA_DEVICE int side(int reach) const { return highest <= -reach ? -1 : lowest >= reach ? 1 : 0; }
};

template <bool kKeysAreColumns, int kRows, int kColumns>
WGQA_DEVICE Distances distancesFrom(int distance) {
  return kKeysAreColumns ? Distances{distance - kRows + 1, distance + kColumns - 1}
                         : Distances{distance - kColumns + 1, distance + kRows - 1};
}

/// A score in log2 units is factor * (q . k) + offset.
struct ScoreTerms {
  float factor;
  float offset;
};

/// `distance`: that of the fragment's row 0 and column 0. Where the bias differs within the
/// fragment it is added to the scores; far from the diagonal, where nearly all fragments of long
/// sequences lie, it is a term of all of them.
template <bool kKeysAreColumns, int kRowTiles, int kColumnTiles>
WGQA_DEVICE ScoreTerms addBias(const RelativeBiasArguments& bias, const float* window, float factor,
                               int distance, float (&scores)[kRowTiles][kColumnTiles][4]) {
  if (bias.table == nullptr) return {factor, 0.0f};
  const float* nearest = window + kBiasMargin + bias.reach;
  const int side =
      distancesFrom<kKeysAreColumns, 16 * kRowTiles, 8 * kColumnTiles>(distance).side(bias.reach);
  if (side != 0) return {factor, nearest[side * bias.reach]};
  constexpr int kSign = kKeysAreColumns ? 1 : -1;
  const float* own = nearest + distance + kSign * (laneColumn() - laneRow());
  WGQA_UNROLL
  for (int m = 0; m < kRowTiles; ++m) {
    WGQA_UNROLL
    for (int n = 0; n < kColumnTiles; ++n) {
      WGQA_UNROLL
      for (int i = 0; i < 4; ++i) {
        const int place = kSign * (8 * n + i % 2 - 16 * m - i / 2 * 8);
        scores[m][n][i] = fusedMultiplyAdd(scores[m][n][i], factor, own[place]);
      }
    }
  }
  return {1.0f, 0.0f};
}

// ---------------------------------------------------------------------------- mask

/// Scores of columns from columns[r] on, r = 2 m + i / 2 the lane's row, become minus infinity.
template <int kRowTiles, int kColumnTiles>
WGQA_DEVICE void maskColumns(const int (&columns)[2 * kRowTiles],
                             float (&scores)[kRowTiles][kColumnTiles][4]) {
  WGQA_UNROLL
  for (int m = 0; m < kRowTiles; ++m) {
    WGQA_UNROLL
    for (int n = 0; n < kColumnTiles; ++n) {
      WGQA_UNROLL
      for (int i = 0; i < 4; ++i) {
        const int column = 8 * n + i % 2;
        if (column >= columns[2 * m + i / 2] - laneColumn()) scores[m][n][i] = kMinusInfinity;
      }
    }
  }
}

/// Where rows are queries and columns keys from firstKey on: no keys beyond the last, or, if
/// causal, beyond the query's position. `position`: of the fragment's row 0.
template <int kRowTiles, int kColumnTiles>
WGQA_DEVICE void maskKeys(bool causal, int position, int firstKey, int keys,
                          float (&scores)[kRowTiles][kColumnTiles][4]) {
  const int left = keys - firstKey;
  const int diagonal = causal ? position - firstKey + 1 : left;
  if (left >= 8 * kColumnTiles && diagonal >= 8 * kColumnTiles) return;
  int columns[2 * kRowTiles];
  WGQA_UNROLL
  for (int r = 0; r < 2 * kRowTiles; ++r) {
    const int seen = causal ? diagonal + laneRow() + 8 * r : left;
    columns[r] = seen < left ? seen : left;
  }
  maskColumns(columns, scores);
}

/// Where rows are keys and columns queries, of a causal shape. `distance`: key - query of row 0 and
/// column 0; keys beyond the last need no mask, since nothing is written for them.
template <int kRowTiles, int kColumnTiles>
WGQA_DEVICE void maskQueries(int distance, float (&scores)[kRowTiles][kColumnTiles][4]) {
  if (distance + 16 * kRowTiles - 1 <= 0) return;
  const int own = distance + laneRow() - laneColumn();
  WGQA_UNROLL
  for (int m = 0; m < kRowTiles; ++m) {
    WGQA_UNROLL
    for (int n = 0; n < kColumnTiles; ++n) {
      WGQA_UNROLL
      for (int i = 0; i < 4; ++i) {
        const int key = 16 * m + i / 2 * 8 - 8 * n - i % 2;
        if (own + key > 0) scores[m][n][i] = kMinusInfinity;
      }
    }
  }
}

// ---------------------------------------------------------------------------- dropout

/// Bit i: column 4 * columnBlock + i of a row is kept.
WGQA_DEVICE std::uint32_t keptColumns(const DropoutArguments& dropout, std::uint32_t row,
                                      int columnBlock) {
  const RandomWords random = randomWords(dropout, row, static_cast<std::uint32_t>(columnBlock));
  const std::uint32_t least = dropout.threshold;
  return (random.words[0] >= least ? 1u : 0u) | (random.words[1] >= least ? 2u : 0u) |
         (random.words[2] >= least ? 4u : 0u) | (random.words[3] >= least ? 8u : 0u);
}

// Which of a lane's scores are kept, as bits 4 (m * kColumnTiles + n) + i for element i of fragment
// m, n. Better drawn before there are scores: there are not registers for all.

/// Where columns are keys from firstKey on, a multiple of 8. `row`: dropout's of the lane's first
/// row, `oneRow` from that to the next. Two neighbouring lanes share what each draws.
template <int kRowTiles, int kColumnTiles>
WGQA_DEVICE std::uint32_t keptOfKeyColumns(const DropoutArguments& dropout, std::uint32_t row,
                                           std::uint32_t oneRow, int firstKey) {
  static_assert(4 * kRowTiles * kColumnTiles <= 32);
  const int half = laneIndex() % 2;
  std::uint32_t kept = 0;
  WGQA_UNROLL_BY(2)  // all at once would take too many registers
  for (int fragment = 0; fragment < kRowTiles * kColumnTiles; ++fragment) {
    const int m = fragment / kColumnTiles;
    const int n = fragment % kColumnTiles;
    const std::uint32_t own = keptColumns(dropout, row + (16 * m + 8 * half) * oneRow,
                                          firstKey / 4 + 2 * n + laneIndex() % 4 / 2);
    const std::uint32_t other = shuffleXor(own, 1);
    const std::uint32_t first = half == 0 ? own : other;
    const std::uint32_t second = half == 0 ? other : own;
    kept |= ((first >> 2 * half & 3) | (second >> 2 * half & 3) << 2) << 4 * fragment;
  }
  return kept;
}

/// Where rows are keys from firstKey on, a multiple of 16, and columns queries. `row`: dropout's of
/// the lane's first column, `oneColumn` from that to the next. Four lanes of neighbouring keys
/// share.
template <int kRowTiles, int kColumnTiles>
WGQA_DEVICE std::uint32_t keptOfKeyRows(const DropoutArguments& dropout, std::uint32_t row,
                                        std::uint32_t oneColumn, int firstKey) {
  static_assert(4 * kRowTiles * kColumnTiles <= 32);
  const int place = laneRow() % 4;
  std::uint32_t kept = 0;
  WGQA_UNROLL_BY(2)  // all at once would take too many registers
  for (int fragment = 0; fragment < kRowTiles * kColumnTiles; ++fragment) {
    const int m = fragment / kColumnTiles;
    const int n = fragment % kColumnTiles;
    const std::uint32_t own = keptColumns(dropout, row + (8 * n + place % 2) * oneColumn,
                                          firstKey / 4 + 4 * m + laneRow() / 4 + place / 2 * 2);
    WGQA_UNROLL
    for (int i = 0; i < 4; ++i) {
      const std::uint32_t drawn = shuffleFrom(own, laneIndex() % 4 + laneIndex() / 16 * 16 + 4 * i);
      kept |= (drawn >> place & 1) << (4 * fragment + i);
    }
  }
  return kept;
}

/// What is kept is multiplied by `factor`, the rest becomes 0.
template <int kRowTiles, int kColumnTiles>
WGQA_DEVICE void applyKept(std::uint32_t kept, float factor,
                           float (&values)[kRowTiles][kColumnTiles][4]) {
  WGQA_UNROLL
  for (int m = 0; m < kRowTiles; ++m) {
    WGQA_UNROLL
    for (int n = 0; n < kColumnTiles; ++n) {
      WGQA_UNROLL
      for (int i = 0; i < 4; ++i) {
        const bool isKept = (kept >> (4 * (m * kColumnTiles + n) + i) & 1) != 0;
        values[m][n][i] = isKept ? factor * values[m][n][i] : 0.0f;
      }
    }
  }
}

}  // namespace wgqa::cuda
