// Arguments of the kernels in merge.cu: heads are matrices [rows, columns], that is [headDim,
// dModel].
#pragma once

#include "ops/cuda/kernels/kernel.h"

namespace wgqa::cuda {

/// The weight of element (head, row, column): data[head * headStride + row * rowStride], and where
/// a granularity tells columns apart the one `column` after it.
struct MergeWeightView {
  const float* data;
  std::int64_t headStride;
  std::int64_t rowStride;
};

/// What a warp has of a row.
inline constexpr int kMergeColumns = 128;

/// kMergeColumns columns (x), a row for each warp (y), group (z).
struct MergeHeadsArguments {
  const float* base;  // [heads, rows, columns]
  MergeWeightView weight;
  const std::int32_t* groupHeads;  // [groups + 1]: first head of each group
  float* merged;                   // [groups, rows, columns]
  std::int64_t rows;
  std::int64_t columns;
  std::int32_t isAligned;  // all rows to 16 bytes
};

/// Rows of gradMerged that a warp keeps while it goes through the heads of their group.
inline constexpr int kMergeHeldRows = 4;
inline constexpr int kMergeMostWarps = 16;

/// Some heads of one group.
struct MergeHeadRange {
  std::int32_t begin;
  std::int32_t end;
  std::int32_t group;
};

/// kMergeColumns columns (x), kMergeHeldRows rows for each warp (y), range of heads (z).
struct MergeHeadsBackwardArguments {
  const float* base;  // [heads, rows, columns]
  MergeWeightView weight;
  const MergeHeadRange* ranges;
  const float* gradMerged;  // [groups, rows, columns]
  float* gradBase;          // [heads, rows, columns], +=; or null
  // [slices, sumCount]: each block's share of the weight's gradient; if there is one slice, that
  // gradient itself, +=.
  float* sums;
  std::int64_t slices;
  std::int64_t sumCount;
  std::int64_t rows;
  std::int64_t columns;
  std::int32_t isAligned;
};

/// Weights of a head or of its rows; and of its columns.
inline constexpr Kernel<MergeHeadsArguments> kMergeHeads{"mergeHeads<weight of a row>"};
inline constexpr Kernel<MergeHeadsArguments> kMergeHeadsByColumn{"mergeHeads<weight of a column>"};

/// What a sum of the backward pass goes over, with its sums and its slices.
inline constexpr Kernel<MergeHeadsBackwardArguments> kMergeBackwardOverHead{
    "mergeHeadsBackward<over a head>"};  // [heads], blocks (x, y); shared: 2 * warps floats
inline constexpr Kernel<MergeHeadsBackwardArguments> kMergeBackwardOverRows{
    "mergeHeadsBackward<over rows>"};  // [heads, columns], blocks y; shared: 2 * warps * 128 floats
inline constexpr Kernel<MergeHeadsBackwardArguments> kMergeBackwardOverColumns{
    "mergeHeadsBackward<over columns>"};  // [heads, rows], blocks x

}  // namespace wgqa::cuda
