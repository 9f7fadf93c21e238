// The softmax of attention on tensor cores, kept up to date while a warp walks over the keys: rows
// of its fragments of scores (tensor_tile.h), whose columns are keys.
#pragma once

#include "ops/cuda/kernels/attention_tile.h"
#include "ops/cuda/kernels/reduce.h"

namespace wgqa::cuda {

/// Softmax of a lane's rows so far, in log2 units: sums of 2^(score - reference) over its columns.
template <int kRows>
struct SoftmaxRows {
  float reference[kRows];
  float sum[kRows];
};

/// No key seen yet.
template <int kRows>
WGQA_DEVICE void clear(SoftmaxRows<kRows>& rows) {
  WGQA_UNROLL
  for (int r = 0; r < kRows; ++r) {
    rows.reference[r] = kMinusInfinity;
    rows.sum[r] = 0.0f;
  }
}

// A row's reference follows its largest score only when that is this much larger: it is exact with
// any reference, and outputs have to be scaled seldom.
inline constexpr float kReferenceSlack = 8.0f;

/// Of a lane's own columns.
template <int kRowTiles, int kColumnTiles>
WGQA_DEVICE void largestOfLane(const float (&scores)[kRowTiles][kColumnTiles][4],
                               float (&largest)[2 * kRowTiles]) {
  WGQA_UNROLL
  for (int r = 0; r < 2 * kRowTiles; ++r) {
    largest[r] = kMinusInfinity;
    WGQA_UNROLL
    for (int n = 0; n < kColumnTiles; ++n) {
      const float* pair = &scores[r / 2][n][r % 2 * 2];
      largest[r] = fmaxf(largest[r], fmaxf(pair[0], pair[1]));
    }
  }
}

/// Of the four lanes that share a row, from what each has.
template <int kRows>
WGQA_DEVICE void largestOfRows(float (&largest)[kRows]) {
  WGQA_UNROLL
  for (int r = 0; r < kRows; ++r) {
    largest[r] = fmaxf(largest[r], shuffleXor(largest[r], 1));
    largest[r] = fmaxf(largest[r], shuffleXor(largest[r], 2));
  }
}

/// Whether a reference of the warp's rows follows: what was summed so far is then to be multiplied
/// by its row's ratio.
template <int kRows>
WGQA_DEVICE bool raiseReferences(const float (&largest)[kRows], SoftmaxRows<kRows>& rows,
                                 float (&ratios)[kRows]) {
  bool isHigher = false;
  WGQA_UNROLL
  for (int r = 0; r < kRows; ++r) isHigher |= largest[r] > rows.reference[r] + kReferenceSlack;
  if (!warpAny(isHigher)) return false;
  WGQA_UNROLL
  for (int r = 0; r < kRows; ++r) {
    ratios[r] = 1.0f;
    if (!(largest[r] > rows.reference[r] + kReferenceSlack)) continue;
    ratios[r] = fastExp2(rows.reference[r] - largest[r]);
    rows.reference[r] = largest[r];
    rows.sum[r] *= ratios[r];
  }
  return true;
}

template <int kRowTiles, int kColumnTiles>
WGQA_DEVICE void scaleRows(const float (&ratios)[2 * kRowTiles],
                           float (&out)[kRowTiles][kColumnTiles][4]) {
  WGQA_UNROLL
  for (int r = 0; r < 2 * kRowTiles; ++r) {
    WGQA_UNROLL
    for (int n = 0; n < kColumnTiles; ++n) {
      out[r / 2][n][r % 2 * 2] *= ratios[r];
      out[r / 2][n][r % 2 * 2 + 1] *= ratios[r];
    }
  }
}

/// Scores become probabilities but for their rows' common factor.
template <int kRowTiles, int kColumnTiles>
WGQA_DEVICE void exponentiate(const ScoreTerms& terms, SoftmaxRows<2 * kRowTiles>& rows,
                              float (&scores)[kRowTiles][kColumnTiles][4]) {
  WGQA_UNROLL
  for (int r = 0; r < 2 * kRowTiles; ++r) {
    // A row that has seen no key: minus infinity less itself would be NaN.
    const float reference = rows.reference[r] == kMinusInfinity ? 0.0f : rows.reference[r];
    const float offset = terms.offset - reference;
    WGQA_UNROLL
    for (int n = 0; n < kColumnTiles; ++n) {
      float* pair = &scores[r / 2][n][r % 2 * 2];
      pair[0] = fastExp2(fusedMultiplyAdd(pair[0], terms.factor, offset));
      pair[1] = fastExp2(fusedMultiplyAdd(pair[1], terms.factor, offset));
      rows.sum[r] += pair[0] + pair[1];
    }
  }
}

template <int kRowTiles, typename Arguments>
WGQA_DEVICE void storeLogSumExp(const Arguments& p, const QueryTile& tile, int warpRow,
                                const SoftmaxRows<2 * kRowTiles>& rows) {
  if (p.logSumExp == nullptr || laneIndex() % 4 != 0) return;
  WGQA_UNROLL
  for (int r = 0; r < 2 * kRowTiles; ++r) {
    const int query = tile.first + warpRow + laneRow() + 8 * r;
    if (query < 0 || query >= tile.queries) continue;
    const std::int64_t token = std::int64_t{tile.queryOffset} + query;
    p.logSumExp[token * p.shape.heads + tile.head] = logf(rows.sum[r]) + kLn2 * rows.reference[r];
  }
}

/// What a warp has summed of `out` becomes the result of its rows, from the tile's row `warpRow`
/// on.
template <typename T, typename Arguments, int kRowTiles, int kColumnTiles>
WGQA_DEVICE void storeAttended(const Arguments& p, const QueryTile& tile, int warpRow,
                               SoftmaxRows<2 * kRowTiles>& rows,
                               const float (&out)[kRowTiles][kColumnTiles][4]) {
  float factors[2 * kRowTiles];
  WGQA_UNROLL
  for (int r = 0; r < 2 * kRowTiles; ++r) {
    rows.sum[r] = warpSum<4>(rows.sum[r]);
    factors[r] = rows.sum[r] > 0.0f ? p.shape.dropout.keptScale / rows.sum[r] : 0.0f;
  }
  storeLogSumExp<kRowTiles>(p, tile, warpRow, rows);
  const int row = tile.first + warpRow;
  storeFragment<T>(
      out, factors, p.out, p.outIsFloat32,
      {queryElement(p.shape, tile, warpRow), std::int64_t{p.shape.heads} * p.shape.headDim, -row,
       tile.queries - row, p.shape.headDim});
}

}  // namespace wgqa::cuda
