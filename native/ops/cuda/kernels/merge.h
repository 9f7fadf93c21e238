// Arguments of the kernels in merge.cu.
#pragma once

#include "ops/cuda/kernels/kernel.h"

namespace wgqa::cuda {

/// Where the weight of element (head, row, column) lies: at head * headStride + row * rowStride +
/// column * columnStride, so that a stride of 0 tells what a granularity does not distinguish.
struct MergeWeightView {
  const float* data;
  std::int64_t headStride;
  std::int64_t rowStride;
  std::int64_t columnStride;
};

/// Columns (x), row of a head (y), group (z).
struct MergeHeadsArguments {
  const float* base;  // [heads, rows, columns]
  MergeWeightView weight;
  const std::int32_t* groupHeads;  // [groups + 1]: first head of each group
  float* merged;                   // [groups, rows, columns]
  std::int64_t rows;
  std::int64_t columns;
};

struct MergeHeadsBackwardArguments {
  const float* base;  // [heads, rows, columns]
  MergeWeightView weight;
  const std::int32_t* groupOf;  // [heads]
  const float* gradMerged;      // [groups, rows, columns]
  float* gradBase;              // [heads, rows, columns], +=; or null
  float* sums;                  // see the kernels
  std::int64_t sumRowStride;    // of the sums over columns
  std::int64_t sumHeadStride;
  std::int64_t rows;
  std::int64_t columns;
  std::int64_t rowsPerSlice;
};

inline constexpr Kernel<MergeHeadsArguments> kMergeHeads{"mergeHeads"};
/// A block per row (x) of a head (y). sums: base * gradMerged over the columns.
inline constexpr Kernel<MergeHeadsBackwardArguments> kMergeBackwardOverColumns{
    "mergeHeadsBackward<over columns>"};
/// Columns (x), slice of rows (y), head (z). sums [slices, heads, columns]: over a slice's rows.
inline constexpr Kernel<MergeHeadsBackwardArguments> kMergeBackwardOverRows{
    "mergeHeadsBackward<over rows>"};

}  // namespace wgqa::cuda
