// Tiles of float32 rows in shared memory and products of them by plain multiplications: what the
// kernels of float32 attention have in common.
//
// A block's threads form a square of kSide x kSide. Thread (y, x) has the rows 4 y to 4 y + 3 of a
// product, and its columns 4 x to 4 x + 3, or every kSide-th one from x on.
#pragma once

#include "ops/cuda/kernels/attention_float.h"
#include "ops/cuda/kernels/constants.h"
#include "ops/cuda/kernels/elements.h"

namespace wgqa::cuda {

template <int kHeadDim>
struct FloatTile {
  static constexpr int kRows = kFloatTile<kHeadDim>;
  static constexpr int kSide = kRows / 4;
  static constexpr int kThreads = kSide * kSide;
  static constexpr int kStride = kHeadDim + 1;  // of rows of heads: columns lie in different banks
  static constexpr int kScoreStride = kRows + 1;  // of rows of scores
  static constexpr int kFloats = kRows * kStride;
  static constexpr int kScoreFloats = kRows * kScoreStride;
  static constexpr int kSums = kFloatColumns<kHeadDim> / kSide;  // columns that a thread sums up

  WGQA_DEVICE static int x() { return threadIndex() % kSide; }
  WGQA_DEVICE static int y() { return threadIndex() / kSide; }
};

/// All threads copy `count` rows of heads, `stride` apart; the rest of the tile becomes zeros.
template <int kHeadDim>
WGQA_DEVICE void loadFloatTile(const float* from, std::int64_t stride, int headDim, int count,
                               float* tile) {
  using Tile = FloatTile<kHeadDim>;
  for (int i = threadIndex(); i < Tile::kRows * kHeadDim; i += Tile::kThreads) {
    const int row = i / kHeadDim;
    const int column = i % kHeadDim;
    const bool isGiven = row < count && column < headDim;
    tile[row * Tile::kStride + column] = isGiven ? from[row * stride + column] : 0.0f;
  }
}

/// scores[i][j] = a row 4 y + i . b row 4 x + j.
template <int kHeadDim>
WGQA_DEVICE void multiplyFloatRows(const float* a, const float* b, float (&scores)[4][4]) {
  using Tile = FloatTile<kHeadDim>;
  WGQA_UNROLL
  for (int i = 0; i < 4; ++i) {
    WGQA_UNROLL
    for (int j = 0; j < 4; ++j) scores[i][j] = 0.0f;
  }
  const float* rows = a + 4 * Tile::y() * Tile::kStride;
  const float* columns = b + 4 * Tile::x() * Tile::kStride;
  WGQA_UNROLL_BY(4)
  for (int d = 0; d < kHeadDim; ++d) {
    float left[4];
    float right[4];
    WGQA_UNROLL
    for (int i = 0; i < 4; ++i) left[i] = rows[i * Tile::kStride + d];
    WGQA_UNROLL
    for (int j = 0; j < 4; ++j) right[j] = columns[j * Tile::kStride + d];
    WGQA_UNROLL
    for (int i = 0; i < 4; ++i) {
      WGQA_UNROLL
      for (int j = 0; j < 4; ++j) scores[i][j] += left[i] * right[j];
    }
  }
}

/// sums[i][j] += sum over k of weights[4 y + i, k] * b[k, first + x + kSide j]; transposed:
/// weights[k, 4 y + i].
template <int kHeadDim, bool kTransposed>
WGQA_DEVICE void addFloatProduct(const float* weights, const float* b, int first,
                                 float (&sums)[4][FloatTile<kHeadDim>::kSums]) {
  using Tile = FloatTile<kHeadDim>;
  const float* columns = b + first + Tile::x();
  for (int k = 0; k < Tile::kRows; ++k) {
    float left[4];
    WGQA_UNROLL
    for (int i = 0; i < 4; ++i) {
      const int row = 4 * Tile::y() + i;
      left[i] = weights[kTransposed ? k * Tile::kScoreStride + row : row * Tile::kScoreStride + k];
    }
    WGQA_UNROLL
    for (int j = 0; j < Tile::kSums; ++j) {
      const float right = columns[k * Tile::kStride + j * Tile::kSide];
      WGQA_UNROLL
      for (int i = 0; i < 4; ++i) sums[i][j] += left[i] * right;
    }
  }
}

template <int kHeadDim>
WGQA_DEVICE void storeFloatScores(const float (&scores)[4][4], float* tile) {
  using Tile = FloatTile<kHeadDim>;
  WGQA_UNROLL
  for (int i = 0; i < 4; ++i) {
    WGQA_UNROLL
    for (int j = 0; j < 4; ++j) {
      tile[(4 * Tile::y() + i) * Tile::kScoreStride + 4 * Tile::x() + j] = scores[i][j];
    }
  }
}

/// Writes the first `count` rows of sums, times factors[i], to rows of heads `stride` apart, the
/// first of which begins at element `at` of a tensor.
template <int kHeadDim>
WGQA_DEVICE void storeFloatSums(const float (&sums)[4][FloatTile<kHeadDim>::kSums],
                                const float (&factors)[4], int first, int headDim, int count,
                                std::int64_t stride, FloatType type, void* tensor,
                                std::int64_t at) {
  using Tile = FloatTile<kHeadDim>;
  WGQA_UNROLL
  for (int i = 0; i < 4; ++i) {
    const int row = 4 * Tile::y() + i;
    if (row >= count) continue;
    WGQA_UNROLL
    for (int j = 0; j < Tile::kSums; ++j) {
      const int column = first + Tile::x() + j * Tile::kSide;
      if (column >= headDim) continue;
      roundTo(sums[i][j] * factors[i], tensor, at + row * stride + column, type);
    }
  }
}

// ---------------------------------------------------------------------------- scores

/// Where a sequence lies in the batch.
struct FloatSequence {
  std::int64_t queryToken;
  std::int64_t keyToken;
  int queries;
  int keys;
  int firstPosition;

  WGQA_DEVICE FloatSequence(const AttentionShapeArguments& shape, int index)
      : queryToken(shape.queryOffsets[index]),
        keyToken(shape.keyOffsets[index]),
        queries(shape.queryOffsets[index + 1] - shape.queryOffsets[index]),
        keys(shape.keyOffsets[index + 1] - shape.keyOffsets[index]),
        firstPosition(shape.firstPositions[index]) {}
};

/// A tile of queries and one of keys of a sequence.
struct FloatTilePair {
  int queries;              // of the tile
  int position;             // of the first query among the keys
  int firstKey;             // of the sequence
  int keys;                 // of the tile
  std::int64_t queryToken;  // of the first query in the batch
  int allKeys;              // of the sequence
};

WGQA_DEVICE int fewer(int a, int b) { return a < b ? a : b; }

/// Keys that a query of the tile sees.
WGQA_DEVICE int keysSeen(const AttentionShapeArguments& shape, const FloatTilePair& pair, int row) {
  return shape.causal ? fewer(pair.allKeys, pair.position + row + 1) : pair.allKeys;
}

/// Products become scores: scaled; minus infinity for keys that a query does not see. Rows are
/// queries. The bias is kept apart, to be added once the row's shift is taken off: that is exact
/// where the result matters, while a large score would swallow the bias' last bits.
template <int kHeadDim>
WGQA_DEVICE void finishFloatScores(const AttentionShapeArguments& shape, const FloatTilePair& pair,
                                   const float* bias, float (&scores)[4][4],
                                   float (&biases)[4][4]) {
  using Tile = FloatTile<kHeadDim>;
  WGQA_UNROLL
  for (int i = 0; i < 4; ++i) {
    const int row = 4 * Tile::y() + i;
    WGQA_UNROLL
    for (int j = 0; j < 4; ++j) {
      const int column = 4 * Tile::x() + j;
      const int distance = pair.firstKey + column - (pair.position + row);
      const bool isSeen =
          row < pair.queries && column < pair.keys && (!shape.causal || distance <= 0);
      biases[i][j] =
          shape.bias.table == nullptr ? 0.0f : bias[distancePlace(distance, shape.bias.reach)];
      scores[i][j] = isSeen ? scores[i][j] * shape.scale : kMinusInfinity;
    }
  }
}

/// What dropout multiplies a thread's four neighbouring keys of row i by.
template <int kHeadDim>
WGQA_DEVICE void dropoutFactors(const AttentionShapeArguments& shape, const FloatTilePair& pair,
                                int head, int i, float (&factors)[4]) {
  using Tile = FloatTile<kHeadDim>;
  if (shape.dropout.threshold == 0) {
    WGQA_UNROLL
    for (int j = 0; j < 4; ++j) factors[j] = 1.0f;
    return;
  }
  const std::int64_t row = (pair.queryToken + 4 * Tile::y() + i) * shape.heads + head;
  const RandomWords random = randomWords(shape.dropout, static_cast<std::uint32_t>(row),
                                         static_cast<std::uint32_t>(pair.firstKey / 4 + Tile::x()));
  WGQA_UNROLL
  for (int j = 0; j < 4; ++j) factors[j] = dropoutFactor(shape.dropout, random.words[j]);
}

}  // namespace wgqa::cuda
