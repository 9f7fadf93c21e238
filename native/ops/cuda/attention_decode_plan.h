// How decode attention divides its work: pure functions of the problem.
#pragma once

#include <cstdint>
#include <span>

#include "base/dtype.h"

namespace wgqa::cuda {

struct DecodeProblem {
  DType queryType = DType::float32;
  DType cacheType = DType::float32;
  std::int64_t headDim = 64;
  std::int64_t blockTokens = 64;
  std::int64_t largestGroup = 1;  // query heads of a K/V head
  bool isAligned = false;         // every row of queries, keys and values begins at 16 bytes
};

enum class DecodeKernel : std::uint8_t { scalar, tensor };

/// 16-bit queries over a cache of their type or int8 take the tensor cores, where sizes let them.
DecodeKernel chooseDecodeKernel(const DecodeProblem& problem);

/// Keys that a block of threads takes. It depends on nothing but the model's shape and the cache's,
/// so that the rounding of a row's result does not depend on the batch.
std::int64_t decodeSplitKeys(DecodeKernel kernel, const DecodeProblem& problem);

/// Shared memory of a block of threads.
std::int64_t decodeSharedBytes(DecodeKernel kernel, const DecodeProblem& problem);

/// Splits that the grid has room for: those of the longest sequence, rounded up to a power of two.
/// A grid that changed with every token could not be replayed; blocks without keys end at once.
std::int64_t decodeSplits(std::span<const std::int32_t> lengths, std::int64_t splitKeys);

}  // namespace wgqa::cuda
