// Arguments of the kernels in optimiser.cu.
#pragma once

#include "ops/cuda/kernels/kernel.h"

namespace wgqa::cuda {

/// Elements of one tensor that a block of threads takes: many tensors make one launch, and all of
/// its blocks have about as much to do.
inline constexpr std::int64_t kChunkElements = 16384;

struct Chunk {
  std::int64_t tensor;
  std::int64_t begin;
};

struct AdamWTensor {
  float* value;
  const float* grad;
  float* firstMoment;
  float* secondMoment;
  std::int64_t count;
  float decayFactor;  // 1 - learningRate * weightDecay
  float unused;
};

struct AdamWArguments {
  const Chunk* chunks;  // [blocks]
  const AdamWTensor* tensors;
  float beta1;
  float beta2;
  float epsilon;
  float gradScale;
  float stepSize;               // learningRate / (1 - beta1^step)
  float inverseRootCorrection;  // 1 / sqrt(1 - beta2^step)
};

struct SquaresTensor {
  const float* values;
  std::int64_t count;
};

struct SquaredNormArguments {
  const Chunk* chunks;  // [blocks]
  const SquaresTensor* tensors;
  double* sums;  // [blocks]
};

// ---------------------------------------------------------------------------- Adafactor

/// One matrix; vectors are one row.
struct AdafactorArguments {
  float* value;         // [rows, columns]
  const float* grad;    // [rows, columns]
  float* rowMoment;     // [rows], or null for an unfactored parameter
  float* columnMoment;  // [columns], or null
  float* moment;        // [rows, columns], or null for a factored parameter
  float* columnSums;    // [slices, columns] scratch
  double* sums;         // [blocks, 2] scratch: squares of the update and of the value
  float* totals;        // [3] scratch: mean of rowMoment, RMS of the update, RMS of the value
  std::int64_t rows;
  std::int64_t columns;
  std::int64_t rowsPerSlice;
  std::int64_t slices;
  std::int64_t blocks;  // of the passes over elements
  float decay;
  float gradEpsilon;
  float gradScale;
  float parameterEpsilon;
  float clipThreshold;
  float learningRate;
  float weightDecay;
  std::int32_t scalesByParameter;
};

inline constexpr Kernel<AdamWArguments> kAdamW{"adamW"};
inline constexpr Kernel<SquaredNormArguments> kSquaredNorm{"squaredNorm"};
/// A block per row: its moment.
inline constexpr Kernel<AdafactorArguments> kAdafactorRows{"adafactor<rows>"};
/// Columns (x), slice of rows (y): sums of squares.
inline constexpr Kernel<AdafactorArguments> kAdafactorColumns{"adafactor<columns>"};
/// Columns (x): their moments from the slices' sums.
inline constexpr Kernel<AdafactorArguments> kAdafactorColumnMoments{"adafactor<column moments>"};
/// One block: the mean of the rows' moments.
inline constexpr Kernel<AdafactorArguments> kAdafactorRowMean{"adafactor<row mean>"};
/// Elements: the moment of an unfactored parameter, and squares of update and value.
inline constexpr Kernel<AdafactorArguments> kAdafactorSquares{"adafactor<squares>"};
/// One block: the root mean squares.
inline constexpr Kernel<AdafactorArguments> kAdafactorTotals{"adafactor<totals>"};
/// Elements: the update itself.
inline constexpr Kernel<AdafactorArguments> kAdafactorUpdate{"adafactor<update>"};

}  // namespace wgqa::cuda
