// Tiles of 16-bit rows as the copy engine brings them, and a warpgroup's products of them.
//
// A warpgroup's sums are 64 rows, of which warp w has rows 16 w to 16 w + 15 as one fragment
// [1][column tiles][4] (tensor_tile.h).
#pragma once

#include "ops/cuda/kernels/hopper.h"
#include "ops/cuda/kernels/tensor_tile.h"

namespace wgqa::cuda {

/// kRows rows of kColumns numbers, a multiple of kTensorBoxColumns: panels of so many columns, one
/// after the other.
template <int kRows, int kColumns>
struct HopperTile {
  static constexpr int kRowBytes = 2 * kTensorBoxColumns;
  static constexpr int kPanels = kColumns / kTensorBoxColumns;
  static constexpr int kPanelBytes = kRows * kRowBytes;
  static constexpr int kBytes = kPanels * kPanelBytes;
  static_assert(kRows % 8 == 0 && kColumns % kTensorBoxColumns == 0);

  /// By one thread.
  WGQA_DEVICE static void copy(unsigned char* tile, const TensorMap& map, int head, int token,
                               SharedBarrier& full) {
    WGQA_UNROLL
    for (int panel = 0; panel < kPanels; ++panel) {
      copyBox(tile + panel * kPanelBytes, map, panel * kTensorBoxColumns, head, token, full);
    }
  }

  /// Rows from `row` on, a multiple of 8.
  WGQA_DEVICE static SharedMatrix matrix(const unsigned char* tile, int row) {
    return sharedMatrix(tile + row * kRowBytes, kPanelBytes);
  }

  /// From a row's first 16 columns to those from `step` * 16 on.
  WGQA_DEVICE static constexpr int columnsOn(int step) {
    return step / 4 * kPanelBytes + step % 4 * 32;
  }
  /// From the first 16 rows to those from `step` * 16 on.
  WGQA_DEVICE static constexpr int rowsOn(int step) { return step * 16 * kRowBytes; }

  /// By a warpgroup: the rows of [first, end) become zeros, for products that are begun later.
  WGQA_DEVICE static void clearRows(unsigned char* tile, int first, int end) {
    constexpr int kChunks = kRowBytes / 16;
    const int thread = threadIndex() % kWarpgroupThreads;
    for (int i = first * kChunks + thread; i < end * kChunks; i += kWarpgroupThreads) {
      WGQA_UNROLL
      for (int panel = 0; panel < kPanels; ++panel) {
        storeWhole(tile + panel * kPanelBytes + i * 16, Vector<std::uint32_t, 4>{});
      }
    }
    showToProducts();
    warpgroupBarrier();
  }
};

WGQA_DEVICE int tilesOf(int rows, int tileRows) { return (rows + tileRows - 1) / tileRows; }

/// Barriers of a ring of tiles: full when its bytes are there, empty when all warps that read have
/// released it. Tile i takes stage i % kStages for the (i / kStages)th time.
template <int kStages, int kReaders>
struct RingBarriers {
  SharedBarrier full[kStages];
  SharedBarrier empty[kStages];

  /// By one thread, as initialise().
  WGQA_DEVICE void initialiseAll() {
    WGQA_UNROLL
    for (int i = 0; i < kStages; ++i) {
      initialise(full[i], 1);
      initialise(empty[i], kReaders);
    }
  }
  /// By the thread that copies: waits for tile i's place; what the copies of so many bytes tell.
  WGQA_DEVICE SharedBarrier& fill(int i, int bytes) {
    waitFor(empty[i % kStages], i / kStages % 2 ^ 1);
    arriveExpecting(full[i % kStages], bytes);
    return full[i % kStages];
  }
  WGQA_DEVICE void waitUntilFull(int i) { waitFor(full[i % kStages], i / kStages % 2); }
  /// By all lanes of each warp that reads.
  WGQA_DEVICE void release(int i) {
    if (laneIndex() == 0) arrive(empty[i % kStages]);
  }
  WGQA_DEVICE void letPass(int i) {
    waitUntilFull(i);
    release(i);
  }
};

/// A fragment's numbers, as products want them.
template <int kA, int kB, int kC, int kD>
WGQA_DEVICE float (&flat(float (&values)[kA][kB][kC][kD]))[kA * kB * kC * kD] {
  return reinterpret_cast<float(&)[kA * kB * kC * kD]>(values);
}
template <int kA, int kB, int kC>
WGQA_DEVICE float (&flat(float (&values)[kA][kB][kC]))[kA * kB * kC] {
  return reinterpret_cast<float(&)[kA * kB * kC]>(values);
}

/// Begins sums = a b^T: 64 rows of a tile A, all rows of a tile B of as many columns.
template <typename T, typename TileA, typename TileB, int kCount>
WGQA_DEVICE void beginRowProducts(SharedMatrix a, SharedMatrix b, float (&sums)[kCount]) {
  static_assert(TileA::kPanels == TileB::kPanels);
  multiplyRowsAsync<T, false>(sums, a, b);
  WGQA_UNROLL
  for (int step = 1; step < 4 * TileA::kPanels; ++step) {
    multiplyRowsAsync<T, true>(sums, bytesOn(a, TileA::columnsOn(step)),
                               bytesOn(b, TileB::columnsOn(step)));
  }
}

/// Begins sums += a b: `a` of 64 rows in registers, 16 columns a step; b the rows of a tile.
template <typename T, typename TileB, int kSteps, int kCount>
WGQA_DEVICE void beginFragmentProducts(const std::uint32_t (&a)[kSteps][4], SharedMatrix b,
                                       float (&sums)[kCount]) {
  WGQA_UNROLL
  for (int step = 0; step < kSteps; ++step) {
    multiplyFragmentAsync<T>(sums, a[step], bytesOn(b, TileB::rowsOn(step)));
  }
}

/// Begins sums = a b^T in bfloat16: `a` of 64 rows in registers, 16 columns a step; all rows of a
/// tile B.
template <typename TileB, int kSteps, int kCount>
WGQA_DEVICE void beginRowProducts(const std::uint32_t (&a)[kSteps][4], SharedMatrix b,
                                  float (&sums)[kCount]) {
  static_assert(kSteps == 4 * TileB::kPanels);
  multiplyFragmentRowsAsync<false>(sums, a[0], b);
  WGQA_UNROLL
  for (int step = 1; step < kSteps; ++step) {
    multiplyFragmentRowsAsync<true>(sums, a[step], bytesOn(b, TileB::columnsOn(step)));
  }
}

/// The 16 rows from `row` on of a tile of one panel, as products want them in registers.
template <typename Tile>
WGQA_DEVICE void loadFragment(const unsigned char* tile, int row, std::uint32_t (&rows)[4][4]) {
  static_assert(Tile::kPanels == 1);
  using Layout = TileLayout<kTensorBoxColumns>;
  const int place = row * Tile::kRowBytes + Layout::laneOffset();
  WGQA_UNROLL
  for (int step = 0; step < 4; ++step) {
    loadMatrices(rows[step], tile + Layout::chunksOn(place, 2 * step));
  }
}

/// A fragment [pieces][1][column tiles][4] rounded to T, 16 columns a step.
template <typename T, int kPieces, int kColumnTiles>
WGQA_DEVICE void roundFragment(const float (&values)[kPieces][1][kColumnTiles][4],
                               std::uint32_t (&rounded)[kPieces * kColumnTiles / 2][4]) {
  constexpr int kPieceSteps = kColumnTiles / 2;
  WGQA_UNROLL
  for (int step = 0; step < kPieces * kPieceSteps; ++step) {
    WGQA_UNROLL
    for (int i = 0; i < 4; ++i) {
      const float(&four)[4] = values[step / kPieceSteps][0][step % kPieceSteps * 2 + i / 2];
      rounded[step][i] = T::pairBits(four[i % 2 * 2], four[i % 2 * 2 + 1]);
    }
  }
}

}  // namespace wgqa::cuda
