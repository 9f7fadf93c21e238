// Arguments of the kernels in optimiser.cu. All tensors of a call make one launch: tables say which
// part of which tensor a block has, and all blocks have about as much to do.
#pragma once

#include "ops/cuda/kernels/kernel.h"

namespace wgqa::cuda {

/// A block's part of a tensor: the `part`-th of those of equal size that it is cut into.
struct TensorPart {
  std::int32_t tensor;
  std::int32_t part;
};

// ---------------------------------------------------------------------------- AdamW, squared norm

struct AdamWTensor {
  float* value;
  const float* grad;
  float* firstMoment;
  float* secondMoment;
  std::int64_t count;
  float weightDecay;
  std::int32_t isAligned;  // all of them, to 16 bytes
};

struct AdamWArguments {
  const TensorPart* parts;  // [blocks]
  const AdamWTensor* tensors;
  std::int64_t partElements;  // a multiple of four
  float beta1;
  float beta2;
  float newShare1;  // 1 - beta1
  float newShare2;
  float epsilon;
  float gradScale;
  float learningRate;
  float stepSize;               // learningRate / (1 - beta1^step)
  float inverseRootCorrection;  // 1 / sqrt(1 - beta2^step)
  float unused;
};

struct SquaresTensor {
  const float* values;
  std::int64_t count;
  std::int64_t isAligned;
};

struct SquaredNormArguments {
  const TensorPart* parts;  // [blocks]
  const SquaresTensor* tensors;
  std::int64_t partElements;  // a multiple of four
  double* sums;               // [blocks]
};

// ---------------------------------------------------------------------------- Adafactor

/// What a warp has of a row, and the unit of the moments of rows and columns.
inline constexpr int kAdafactorColumns = 128;
inline constexpr int kAdafactorWarps = 8;

/// A matrix in tiles of `tileRows` rows, as the arguments say, and kAdafactorColumns columns; tiles
/// of one row of them follow each other. An unfactored parameter has kAdafactorColumns columns, and
/// a last row that may be shorter.
struct AdafactorTensor {
  float* value;
  const float* grad;
  float* rowMoment;     // [rows], or null for an unfactored parameter
  float* columnMoment;  // [columns], or null
  float* moment;        // as value, or null for a factored parameter
  std::int64_t rows;
  std::int64_t columns;
  std::int64_t count;  // elements
  // Where its sums of squares begin in AdafactorArguments::squares: each row's by tiles,
  // [column tiles, rows], and each column's, [row tiles, columns]; rows and columns rounded up to
  // kAdafactorColumns.
  std::int64_t rowSquares;
  std::int64_t columnSquares;
  std::int32_t firstTile;
  std::int32_t tileCount;
  float weightDecay;
  std::int32_t isAligned;  // all rows to 16 bytes
};

/// What a step does to a tensor: value = keep * value - rate * update.
struct AdafactorOutcome {
  float rowMean;  // of rowMoment
  float keep;
  float rate;
};

/// Sums of squares over a tile.
struct AdafactorSquares {
  double update;
  double value;
};

struct AdafactorArguments {
  const TensorPart* tiles;
  const TensorPart* vectors;  // kAdafactorColumns moments each: those of rows, then of columns
  const AdafactorTensor* tensors;
  float* squares;              // scratch, see AdafactorTensor
  AdafactorSquares* tileSums;  // [tiles] scratch
  AdafactorOutcome* outcomes;  // [tensors] scratch
  std::int64_t tileRows;       // a multiple of 4 * kAdafactorWarps
  float decay;
  float newShare;  // 1 - decay
  float gradEpsilon;
  float gradScale;
  float parameterEpsilon;
  float clipThreshold;
  float learningRate;
  std::int32_t scalesByParameter;
};

inline constexpr Kernel<AdamWArguments> kAdamW{"adamW"};
inline constexpr Kernel<SquaredNormArguments> kSquaredNorm{"squaredNorm"};

// A step of Adafactor, in this order. Tiles: sums of squares, or the moment of an unfactored one.
inline constexpr Kernel<AdafactorArguments> kAdafactorSquares{"adafactor<squares>"};
/// Vectors: moments of rows and columns from those sums.
inline constexpr Kernel<AdafactorArguments> kAdafactorMoments{"adafactor<moments>"};
/// Tensors: the mean of the rows' moments.
inline constexpr Kernel<AdafactorArguments> kAdafactorRowMeans{"adafactor<row means>"};
/// Tiles: sums of squares of update and value.
inline constexpr Kernel<AdafactorArguments> kAdafactorUpdateSquares{"adafactor<update squares>"};
/// Tensors: clipping and learning rate.
inline constexpr Kernel<AdafactorArguments> kAdafactorRates{"adafactor<rates>"};
/// Tiles: the update itself.
inline constexpr Kernel<AdafactorArguments> kAdafactorUpdate{"adafactor<update>"};

}  // namespace wgqa::cuda
