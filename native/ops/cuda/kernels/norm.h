// Arguments of the kernels in norm.cu.
#pragma once

#include "ops/cuda/kernels/kernel.h"

namespace wgqa::cuda {

/// Groups of 128 columns that a warp keeps in registers between two passes over a row.
inline constexpr int kNormHeldGroups = 8;

/// A row is the work of one warp, or of all warps of a block.
struct RmsNormArguments {
  const float* x;       // [rows, columns]
  const float* weight;  // [columns]
  void* out;            // [rows, columns] of the kernel's type
  float* inverseRms;    // [rows], or null
  std::int64_t rows;
  std::int32_t columns;
  float epsilon;
  std::int32_t rowWarps;  // 1, or those of the block
};

/// A block per slice of rows, one or several rows at a time.
struct RmsNormBackwardArguments {
  const float* x;           // [rows, columns]
  const float* weight;      // [columns]
  const float* inverseRms;  // [rows]
  const float* gradOut;     // [rows, columns]
  float* gradX;             // [rows, columns], +=
  float* partial;           // [slices, columns]: each slice's part of the weight's gradient
  std::int64_t rows;
  std::int64_t rowsPerSlice;
  std::int32_t columns;
};

/// Rows at a time, and groups of 128 columns of a warp that are kept in registers: narrow rows
/// several together, wide ones one after the other.
struct NormBackwardTile {
  int rows;
  int groups;
};
inline constexpr NormBackwardTile kNormNarrowTile{4, 1};
inline constexpr NormBackwardTile kNormWideTile{1, 4};

/// Warps that share a row at most.
inline constexpr int kNormMostWarps = 8;

/// Shared memory of the backward pass: sums of a row over each warp, twice.
inline constexpr std::int64_t kNormBackwardBytes =
    2 * kNormNarrowTile.rows * kNormMostWarps * static_cast<std::int64_t>(sizeof(float));

/// out[i] += the sum of partial[slice, i] over the slices. `parts` warps share 32 neighbouring i,
/// each has slices one after the other; their sums are added in this order, too.
struct SumSlicesArguments {
  const float* partial;  // [slices, count]
  float* out;            // [count], +=
  std::int64_t slices;
  std::int64_t count;
  std::int32_t slicesPerPart;
  std::int32_t parts;  // 1, 2, 4 or 8: divides the warps of a block
};
inline constexpr int kSumSlicesWarps = 8;
inline constexpr std::int64_t kSumSlicesBytes =
    kSumSlicesWarps * 32 * static_cast<std::int64_t>(sizeof(float));

// [out float32, float16, bfloat16][rows aligned to their elements, to 16 bytes].
inline constexpr Kernel<RmsNormArguments> kRmsNorm[3][2] = {
    {{"rmsNorm<float32, elements>"}, {"rmsNorm<float32, vectors>"}},
    {{"rmsNorm<float16, elements>"}, {"rmsNorm<float16, vectors>"}},
    {{"rmsNorm<bfloat16, elements>"}, {"rmsNorm<bfloat16, vectors>"}}};
// [rows aligned to their elements, to 16 bytes].
inline constexpr Kernel<RmsNormBackwardArguments> kRmsNormBackwardWide[] = {
    {"rmsNormBackward<wide, elements>"}, {"rmsNormBackward<wide, vectors>"}};
inline constexpr Kernel<RmsNormBackwardArguments> kRmsNormBackwardNarrow{
    "rmsNormBackward<narrow, vectors>"};
inline constexpr Kernel<SumSlicesArguments> kSumSlices{"sumSlices"};

}  // namespace wgqa::cuda
