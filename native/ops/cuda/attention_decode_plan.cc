#include "ops/cuda/attention_decode_plan.h"

#include <algorithm>
#include <bit>

#include "ops/cuda/grids.h"
#include "ops/cuda/kernels/attention_decode.h"

namespace wgqa::cuda {
namespace {

constexpr std::int64_t kSoftmaxBytes = sizeof(PartialSoftmax);

std::int64_t warpKeys(std::int64_t headDim) {
  return headDim == 64 ? kWarpKeys<64> : kWarpKeys<128>;
}

}  // namespace

DecodeKernel chooseDecodeKernel(const DecodeProblem& problem) {
  const bool fits = problem.queryType != DType::float32 &&
                    (problem.cacheType == problem.queryType || problem.cacheType == DType::int8) &&
                    (problem.headDim == 64 || problem.headDim == 128) && problem.isAligned;
  // Copies of 16 bytes lie in one block each.
  const std::int64_t copied = problem.cacheType == DType::int8 ? 16 : 8;
  return fits && problem.blockTokens % copied == 0 ? DecodeKernel::tensor : DecodeKernel::scalar;
}

std::int64_t decodeSplitKeys(DecodeKernel kernel, const DecodeProblem& problem) {
  if (kernel == DecodeKernel::scalar) return kScalarSplitKeys;
  return kDecodeWarps * warpKeys(problem.headDim);
}

std::int64_t decodeSharedBytes(DecodeKernel kernel, const DecodeProblem& problem) {
  if (kernel == DecodeKernel::scalar) {
    return kScalarHeads *
           ((2 * problem.headDim + kScalarSplitKeys) * static_cast<std::int64_t>(sizeof(float)) +
            kSoftmaxBytes);
  }
  const std::int64_t tiles = kDecodeWarps * 2 * 2 * warpKeys(problem.headDim) * problem.headDim;
  const std::int64_t softmaxes = kDecodeWarps * kTensorHeads * kSoftmaxBytes;
  const std::int64_t sums =
      kDecodeWarps * kTensorHeads * problem.headDim * static_cast<std::int64_t>(sizeof(float));
  return tiles + softmaxes + (problem.largestGroup > kTensorHeads ? sums : 0);
}

std::int64_t decodeSplits(std::span<const std::int32_t> lengths, std::int64_t splitKeys) {
  if (lengths.empty()) return 0;
  const auto splits = static_cast<std::uint64_t>(divideUp(std::ranges::max(lengths), splitKeys));
  return static_cast<std::int64_t>(std::bit_ceil(splits));
}

}  // namespace wgqa::cuda
