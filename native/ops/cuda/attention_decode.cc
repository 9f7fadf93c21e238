#include "ops/cuda/kernels/attention_decode.h"

#include "ops/cuda/alignment.h"
#include "ops/cuda/attention_decode_plan.h"
#include "ops/cuda/attention_shape.h"
#include "ops/cuda/grids.h"
#include "ops/cuda/head_groups.h"
#include "ops/cuda/kernel_types.h"
#include "ops/cuda/kernels/constants.h"
#include "ops/cuda/operations.h"

namespace wgqa::cuda {
namespace {

bool isAligned(const ConstTensorView& view) {
  const auto stride = static_cast<std::size_t>(view.strides[0]) * bytesOf(view.dtype);
  return stride % 16 == 0 && areAligned({view.data});
}

std::int64_t largestGroup(std::span<const std::int32_t> firstHeads) {
  std::int64_t largest = 0;
  for (std::size_t i = 1; i < firstHeads.size(); ++i) {
    largest = std::max<std::int64_t>(largest, firstHeads[i] - firstHeads[i - 1]);
  }
  return largest;
}

const Kernel<AttentionDecodeArguments>& kernelOf(DecodeKernel kernel,
                                                 const DecodeProblem& problem) {
  const int query = floatIndex(problem.queryType);
  if (kernel == DecodeKernel::scalar) return kDecodeScalar[query][cacheIndex(problem.cacheType)];
  return kDecodeTensor[problem.headDim == 64 ? 0 : 1][query - 1]
                      [problem.cacheType == DType::int8 ? 1 : 0];
}

void combine(const AttentionDecodeArguments& arguments, const Grid& grid, Session& session) {
  session.launch(kDecodeCombine, {divideUp(arguments.heads, kDecodeWarps), grid.z},
                 {kDecodeThreads},
                 {.partials = arguments.partials,
                  .softmaxes = arguments.softmaxes,
                  .lengths = arguments.lengths,
                  .out = arguments.out,
                  .heads = arguments.heads,
                  .headDim = arguments.headDim,
                  .splits = static_cast<std::int32_t>(grid.x),
                  .splitKeys = arguments.splitKeys,
                  .outType = arguments.outType});
}

}  // namespace

void attentionDecode(const AttentionDecode& p, Session& session) {
  const std::int64_t sequences = p.q.shape[0];
  const std::int64_t heads = p.q.shape[1];
  const std::int64_t headDim = p.q.shape[2];
  const std::int64_t kvHeads = p.cache.keys.shape[1];
  const std::vector<std::int32_t> firstHeads = groupHeads(p.kvHeadOf, kvHeads);
  const DecodeProblem problem{
      .queryType = p.q.dtype,
      .cacheType = p.cache.keys.dtype,
      .headDim = headDim,
      .blockTokens = p.cache.keys.shape[3],
      .largestGroup = largestGroup(firstHeads),
      .isAligned = isAligned(p.q) && isAligned(p.cache.keys) && isAligned(p.cache.values)};
  const DecodeKernel kernel = chooseDecodeKernel(problem);
  const std::int64_t splitKeys = decodeSplitKeys(kernel, problem);
  const std::int64_t splits = decodeSplits(p.cache.lengths, splitKeys);
  const Grid grid{splits, kvHeads, sequences};
  const std::int64_t partials = splits > 1 ? sequences * heads * splits : 0;
  using Scratch = Session::Scratch;
  const AttentionDecodeArguments arguments{
      .q = p.q.data,
      .keys = p.cache.keys.data,
      .values = p.cache.values.data,
      .keyScales = p.cache.keyScales.as<float>(),
      .valueScales = p.cache.valueScales.as<float>(),
      .blockTable = session.table(p.cache.blockTable),
      .tableOffsets = session.table(p.cache.tableOffsets),
      .lengths = session.table(p.cache.lengths),
      .groupHeads = session.table(std::span<const std::int32_t>(firstHeads)),
      .out = p.out.data,
      .partials = session.scratch<float>(Scratch::first, partials * headDim),
      .softmaxes = session.scratch<PartialSoftmax>(Scratch::second, partials),
      .keyStride = p.cache.keys.strides[0],
      .valueStride = p.cache.values.strides[0],
      .scaleStride = p.cache.keyScales.strides[0],
      // Distances up to the reach of the bias: all that its table can tell apart.
      .bias = relativeBiasArguments(p.bias, p.bias.maxDistance, session),
      .scale = p.scale * kLog2E,
      .heads = static_cast<std::int32_t>(heads),
      .headDim = static_cast<std::int32_t>(headDim),
      .blockTokens = static_cast<std::int32_t>(p.cache.keys.shape[3]),
      .splitKeys = static_cast<std::int32_t>(splitKeys),
      .outType = floatType(p.out.dtype)};
  session.launch(kernelOf(kernel, problem), grid,
                 {kDecodeThreads, decodeSharedBytes(kernel, problem)}, arguments);
  if (splits > 1) combine(arguments, grid, session);
}

}  // namespace wgqa::cuda
