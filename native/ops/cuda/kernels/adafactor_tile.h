// A tile of one of Adafactor's matrices, as the warps of a block walk over it.
#pragma once

#include "ops/cuda/kernels/optimiser.h"
#include "ops/cuda/kernels/warp_columns.h"

namespace wgqa::cuda::adafactor {

static_assert(kAdafactorColumns == kWarpColumns);

/// Rows that a warp reads before it uses the first; kAdafactorWarps apart.
inline constexpr int kInFlight = 4;
inline constexpr int kRowStep = kInFlight * kAdafactorWarps;
using Rows = FourFloats[kInFlight];

WGQA_DEVICE std::int64_t tilesAcross(std::int64_t columns) {
  return (columns + kWarpColumns - 1) / kWarpColumns;
}

WGQA_DEVICE std::int64_t padded(std::int64_t count) { return tilesAcross(count) * kWarpColumns; }

struct Tile {
  AdafactorTensor tensor;
  std::int64_t rowTile;
  std::int64_t columnTile;
  std::int64_t column;
  std::int64_t firstRow;  // of this warp
  std::int64_t endRow;

  WGQA_DEVICE std::int64_t at(std::int64_t row) const { return row * tensor.columns + column; }
  /// Columns of the tile that a row has: none beyond the last row.
  WGQA_DEVICE int columnsOf(std::int64_t row) const {
    const std::int64_t left = tensor.count - row * tensor.columns;
    return warpColumnsAt(column, left < tensor.columns ? left : tensor.columns);
  }
};

WGQA_DEVICE Tile tileOf(const AdafactorArguments& p) {
  const TensorPart part = p.tiles[blockX()];
  Tile tile;
  tile.tensor = p.tensors[part.tensor];
  const std::int64_t across = tilesAcross(tile.tensor.columns);
  tile.rowTile = part.part / across;
  tile.columnTile = part.part % across;
  tile.column = tile.columnTile * kWarpColumns;
  tile.firstRow = tile.rowTile * p.tileRows + warpIndex();
  const std::int64_t end = (tile.rowTile + 1) * p.tileRows;
  tile.endRow = end < tile.tensor.rows ? end : tile.tensor.rows;
  return tile;
}

/// Runs a body as what the tile's tensor is.
template <typename Body>
WGQA_DEVICE void runOnTile(const AdafactorArguments& p, const Tile& tile, Body& body) {
  const bool isFactored = tile.tensor.moment == nullptr;
  if (tile.tensor.isAligned != 0) {
    isFactored ? body.template run<true, true>(p, tile) : body.template run<true, false>(p, tile);
  } else {
    isFactored ? body.template run<false, true>(p, tile) : body.template run<false, false>(p, tile);
  }
}

template <bool kAligned>
WGQA_DEVICE void loadRows(const Tile& tile, const float* matrix, std::int64_t row, Rows& rows) {
  WGQA_UNROLL
  for (int i = 0; i < kInFlight; ++i) {
    const std::int64_t own = row + i * kAdafactorWarps;
    rows[i] = loadColumns<kAligned>(matrix + tile.at(own), tile.columnsOf(own));
  }
}

/// What multiplies the gradients of the tile's columns; an update has one of its row, too.
template <bool kAligned>
WGQA_DEVICE FourFloats columnFactors(const Tile& tile) {
  const int count = warpColumnsAt(tile.column, tile.tensor.columns);
  FourFloats factors = loadColumns<kAligned>(tile.tensor.columnMoment + tile.column, count);
  WGQA_UNROLL
  for (int i = 0; i < 4; ++i) {
    const bool isGiven = warpColumn<kAligned>(i) < count;
    factors.values[i] = isGiven ? 1.0f / sqrtf(factors.values[i]) : 0.0f;
  }
  return factors;
}

/// Updates of a warp's rows before clipping; zeros beyond the matrix.
template <bool kAligned, bool kFactored>
struct Updates {
  FourFloats factors{};  // of columns
  float rowMean = 1.0f;

  WGQA_DEVICE Updates(const AdafactorArguments& p, const Tile& tile) {
    if constexpr (kFactored) {
      factors = columnFactors<kAligned>(tile);
      rowMean = p.outcomes[p.tiles[blockX()].tensor].rowMean;
    }
  }

  WGQA_DEVICE void of(const AdafactorArguments& p, const Tile& tile, std::int64_t row,
                      Rows& updates) const {
    Rows moments;
    loadRows<kAligned>(tile, tile.tensor.grad, row, updates);
    if constexpr (!kFactored) loadRows<kAligned>(tile, tile.tensor.moment, row, moments);
    WGQA_UNROLL
    for (int i = 0; i < kInFlight; ++i) {
      const std::int64_t own = row + i * kAdafactorWarps;
      float rowFactor = 0.0f;
      if (kFactored && own < tile.endRow) {
        rowFactor = 1.0f / sqrtf(tile.tensor.rowMoment[own] / rowMean);
      }
      WGQA_UNROLL
      for (int j = 0; j < 4; ++j) {
        float factor = rowFactor * factors.values[j];
        if constexpr (!kFactored) {
          const bool isGiven = warpColumn<kAligned>(j) < tile.columnsOf(own);
          factor = isGiven ? 1.0f / sqrtf(moments[i].values[j]) : 0.0f;
        }
        updates[i].values[j] *= p.gradScale * factor;
      }
    }
  }
};

}  // namespace wgqa::cuda::adafactor
