// The softmax of attention on tensor cores, kept up to date while a warp walks over the keys: rows
// of its fragments of scores (tensor_tile.h), whose columns are keys.
#pragma once

#include "ops/cuda/kernels/attention_tile.h"

namespace wgqa::cuda {

/// Softmax of a lane's rows so far, in log2 units: sums of 2^(score - reference) over its columns.
template <int kRows>
struct SoftmaxRows {
  float reference[kRows];
  float sum[kRows];
};

// A row's reference follows its largest score only when that is this much larger: it is exact with
// any reference, and outputs have to be scaled seldom.
inline constexpr float kReferenceSlack = 8.0f;

template <int kRowTiles, int kColumnTiles>
WGQA_DEVICE void largestOfRows(const float (&scores)[kRowTiles][kColumnTiles][4],
                               float (&largest)[2 * kRowTiles]) {
  WGQA_UNROLL
  for (int r = 0; r < 2 * kRowTiles; ++r) {
    largest[r] = kMinusInfinity;
    WGQA_UNROLL
    for (int n = 0; n < kColumnTiles; ++n) {
      const float* pair = &scores[r / 2][n][r % 2 * 2];
      largest[r] = fmaxf(largest[r], fmaxf(pair[0], pair[1]));
    }
    largest[r] = fmaxf(largest[r], shuffleXor(largest[r], 1));
    largest[r] = fmaxf(largest[r], shuffleXor(largest[r], 2));
  }
}

template <int kRowTiles, int kColumnTiles>
WGQA_DEVICE void raiseReferences(const float (&largest)[2 * kRowTiles],
                                 SoftmaxRows<2 * kRowTiles>& rows,
                                 float (&out)[kRowTiles][kColumnTiles][4]) {
  bool isHigher = false;
  WGQA_UNROLL
  for (int r = 0; r < 2 * kRowTiles; ++r) {
    isHigher |= largest[r] > rows.reference[r] + kReferenceSlack;
  }
  if (!warpAny(isHigher)) return;
  WGQA_UNROLL
  for (int r = 0; r < 2 * kRowTiles; ++r) {
    if (!(largest[r] > rows.reference[r] + kReferenceSlack)) continue;
    const float ratio = fastExp2(rows.reference[r] - largest[r]);
    rows.reference[r] = largest[r];
    rows.sum[r] *= ratio;
    WGQA_UNROLL
    for (int n = 0; n < kColumnTiles; ++n) {
      out[r / 2][n][r % 2 * 2] *= ratio;
      out[r / 2][n][r % 2 * 2 + 1] *= ratio;
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

}  // namespace wgqa::cuda
