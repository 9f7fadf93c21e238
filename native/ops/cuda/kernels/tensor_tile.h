// Tiles of rows of 16-bit numbers in shared memory, and products of them on tensor cores
// (mma.m16n8k16).
//
// A warp's sums are fragments [row tiles][column tiles][4] of 16 x 8: element i of a lane is at row
// laneRow() + 8 (i / 2) and column laneColumn() + i % 2 of its 16 x 8.
#pragma once

#include "ops/cuda/kernels/elements.h"

namespace wgqa::cuda {

WGQA_DEVICE int laneRow() { return laneIndex() / 4; }
WGQA_DEVICE int laneColumn() { return laneIndex() % 4 * 2; }

/// Rows of kColumns numbers. The 16-byte chunks of row r lie permuted by exclusive or with r % 8,
/// so that neither copies nor loadMatrices meet bank conflicts. A tile is aligned to 1,024 bytes.
template <int kColumns>
struct TileLayout {
  static constexpr int kRowBytes = 2 * kColumns;
  static constexpr int kChunks = kColumns / 8;

  WGQA_DEVICE static int offset(int row, int chunk) {
    return row * kRowBytes + (chunk ^ row % 8) * 16;
  }
  // Where the rows that a lane gives to loadMatrices begin, of the first 16 columns.
  /// 16 x 16 as an operand `a`; transposed: as two operands `b` of [16, 8].
  WGQA_DEVICE static int laneOffset() { return offset(laneIndex() % 16, laneIndex() / 16); }
  /// 16 x 16 as two operands `b` of [16, 8] whose columns are the tile's rows.
  WGQA_DEVICE static int laneOffsetOfColumns() {
    return offset(laneIndex() % 8 + laneIndex() / 16 * 8, laneIndex() / 8 % 2);
  }
  /// The same of the columns from `chunks` chunks on, an even number, for an offset of the kinds
  /// above to which a tile's place was added. Only eight chunks are permuted: the rest of the way
  /// is one that the compiler knows.
  WGQA_DEVICE static int chunksOn(int offset, int chunks) {
    return (offset ^ chunks % 8 * 16) + chunks / 8 * 128;
  }
};

/// The rows of a tensor that a tile gets: row i lies at first + i * stride. Rows outside of
/// [begin, end) and columns from `columns` (a multiple of 8) on are zeros.
template <typename T>
struct TileRows {
  const T* first;
  std::int64_t stride;
  int begin;
  int end;
  int columns;
};

/// All threads of the block begin to copy a tile.
template <int kRows, int kColumns, int kThreads, typename T>
WGQA_DEVICE void copyTile(unsigned char* tile, const TileRows<T>& rows) {
  using Layout = TileLayout<kColumns>;
  constexpr int kRowsAtOnce = kThreads / Layout::kChunks;
  static_assert(kRowsAtOnce % 8 == 0 && kRows % kRowsAtOnce == 0);
  const int firstRow = threadIndex() / Layout::kChunks;
  const int chunk = threadIndex() % Layout::kChunks;
  const bool isColumn = chunk * 8 < rows.columns;
  const T* from = rows.first + firstRow * rows.stride + chunk * 8;
  unsigned char* to = tile + Layout::offset(firstRow, chunk);
  WGQA_UNROLL
  for (int i = 0; i < kRows; i += kRowsAtOnce) {
    const int row = firstRow + i;
    copyAsync16OrZero(to + i * Layout::kRowBytes, from + i * rows.stride,
                      isColumn && row >= rows.begin && row < rows.end);
  }
}

/// Rows of a tile from `offset` on; what the compiler knows of their place is in `base`.
struct TileView {
  const unsigned char* base;
  int offset;
};

/// sums += a b^T, both rows of tiles of kColumns columns.
template <int kColumns, typename T = BFloat16Element, int kRowTiles, int kColumnTiles>
WGQA_DEVICE void multiplyRows(const TileView& a, const TileView& b,
                              float (&sums)[kRowTiles][kColumnTiles][4]) {
  using Layout = TileLayout<kColumns>;
  const int laneA = a.offset + Layout::laneOffset();
  const int laneB = b.offset + Layout::laneOffsetOfColumns();
  WGQA_UNROLL_BY(4)  // more would take too many registers
  for (int k = 0; k < kColumns / 16; ++k) {
    std::uint32_t rows[kRowTiles][4];
    WGQA_UNROLL
    for (int m = 0; m < kRowTiles; ++m) {
      loadMatrices(rows[m], a.base + Layout::chunksOn(laneA, 2 * k) + m * 16 * Layout::kRowBytes);
    }
    WGQA_UNROLL
    for (int n = 0; n < kColumnTiles; n += 2) {
      std::uint32_t columns[4];
      loadMatrices(columns, b.base + Layout::chunksOn(laneB, 2 * k) + n * 8 * Layout::kRowBytes);
      WGQA_UNROLL
      for (int m = 0; m < kRowTiles; ++m) {
        T::multiplyAdd(sums[m][n], rows[m], {columns[0], columns[1]});
        T::multiplyAdd(sums[m][n + 1], rows[m], {columns[2], columns[3]});
      }
    }
  }
}

/// sums += a b: `a` a fragment, rounded to the type of b, rows of a tile.
template <int kColumns, typename T = BFloat16Element, int kRowTiles, int kInnerTiles>
WGQA_DEVICE void multiplyFragment(const float (&a)[kRowTiles][kInnerTiles][4], const TileView& b,
                                  float (&sums)[kRowTiles][kColumns / 8][4]) {
  using Layout = TileLayout<kColumns>;
  const int laneB = b.offset + Layout::laneOffset();
  WGQA_UNROLL
  for (int k = 0; k < kInnerTiles; k += 2) {
    std::uint32_t rows[kRowTiles][4];
    WGQA_UNROLL
    for (int m = 0; m < kRowTiles; ++m) {
      WGQA_UNROLL
      for (int i = 0; i < 4; ++i) {
        const float(&pair)[4] = a[m][k + i / 2];
        rows[m][i] = T::pairBits(pair[i % 2 * 2], pair[i % 2 * 2 + 1]);
      }
    }
    WGQA_UNROLL
    for (int n = 0; n < kColumns / 8; n += 2) {
      std::uint32_t columns[4];
      loadMatricesTransposed(columns,
                             b.base + Layout::chunksOn(laneB, n) + k * 8 * Layout::kRowBytes);
      WGQA_UNROLL
      for (int m = 0; m < kRowTiles; ++m) {
        T::multiplyAdd(sums[m][n], rows[m], {columns[0], columns[1]});
        T::multiplyAdd(sums[m][n + 1], rows[m], {columns[2], columns[3]});
      }
    }
  }
}

/// Where a warp's fragment goes: its row i to element first + i * stride of a tensor, rows of
/// [begin, end) and columns below `columns` (a multiple of 8) only.
struct FragmentPlace {
  std::int64_t first;
  std::int64_t stride;
  int begin;
  int end;
  int columns;
};

/// Row r = 2 m + i / 2 of a lane is multiplied by factors[r].
template <int kRowTiles, int kColumnTiles>
WGQA_DEVICE void storeFragment(const float (&values)[kRowTiles][kColumnTiles][4],
                               const float (&factors)[2 * kRowTiles], float* tensor,
                               const FragmentPlace& place) {
  WGQA_UNROLL
  for (int r = 0; r < 2 * kRowTiles; ++r) {
    const int row = laneRow() + 8 * r;
    if (row < place.begin || row >= place.end) continue;
    float* to = tensor + place.first + row * place.stride + laneColumn();
    WGQA_UNROLL
    for (int n = 0; n < kColumnTiles; ++n) {
      if (8 * n >= place.columns) continue;
      const float* pair = &values[r / 2][n][r % 2 * 2];
      storeVector(to + 8 * n, Vector<float, 2>{{factors[r] * pair[0], factors[r] * pair[1]}});
    }
  }
}

/// The same in 16 bits: neighbouring lanes change pairs, so that each writes four numbers and a
/// warp whole sectors.
template <int kRowTiles, int kColumnTiles, typename T>
WGQA_DEVICE void storeFragment(const float (&values)[kRowTiles][kColumnTiles][4],
                               const float (&factors)[2 * kRowTiles], T* tensor,
                               const FragmentPlace& place) {
  const bool isOdd = laneIndex() % 2 == 1;
  WGQA_UNROLL
  for (int r = 0; r < 2 * kRowTiles; ++r) {
    const int row = laneRow() + 8 * r;
    const bool isRow = row >= place.begin && row < place.end;
    T* to = tensor + place.first + row * place.stride + laneIndex() % 4 / 2 * 4;
    WGQA_UNROLL
    for (int n = 0; n < kColumnTiles; n += 2) {
      std::uint32_t pairs[2];
      WGQA_UNROLL
      for (int i = 0; i < 2; ++i) {
        const float* pair = &values[r / 2][n + i][r % 2 * 2];
        pairs[i] = T::pairBits(factors[r] * pair[0], factors[r] * pair[1]);
      }
      const std::uint32_t other = shuffleXor(isOdd ? pairs[0] : pairs[1], 1);
      const int column = 8 * n + (isOdd ? 8 : 0);
      if (!isRow || column >= place.columns) continue;
      const Vector<std::uint32_t, 2> words{{isOdd ? other : pairs[0], isOdd ? pairs[1] : other}};
      storeWhole(to + column, words);
    }
  }
}

/// To a tensor of float32 or of T.
template <typename T = BFloat16Element, int kRowTiles, int kColumnTiles>
WGQA_DEVICE void storeFragment(const float (&values)[kRowTiles][kColumnTiles][4],
                               const float (&factors)[2 * kRowTiles], void* tensor, bool isFloat32,
                               const FragmentPlace& place) {
  if (isFloat32) {
    storeFragment(values, factors, static_cast<float*>(tensor), place);
  } else {
    storeFragment(values, factors, static_cast<T*>(tensor), place);
  }
}

}  // namespace wgqa::cuda
