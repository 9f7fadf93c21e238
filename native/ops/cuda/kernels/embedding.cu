#include "ops/cuda/kernels/embedding.h"

#include "ops/cuda/kernels/groups.h"
#include "ops/cuda/kernels/registry.h"
#include "ops/cuda/kernels/warp_columns.h"

namespace wgqa::cuda {
namespace {

// A block per token.
template <typename T>
WGQA_KERNEL void WGQA_BOUNDS(128, 8) embedding(EmbeddingArguments p) {
  const std::int64_t token = blockX();
  const T* from = static_cast<const T*>(p.table) + p.ids[token] * p.columns;
  float* to = p.out + token * p.columns;
  for (std::int64_t column = 4 * threadIndex(); column < p.columns; column += 4 * blockThreads()) {
    const int valid = validAt(column, p.columns);
    storeFour(loadFour(from + column, valid), to + column, valid);
  }
}

// A block per id (x) and slice of columns (y), a warp for 128 of them.
template <bool kAligned>
WGQA_KERNEL void WGQA_BOUNDS(128, 8) embeddingBackward(EmbeddingBackwardArguments p) {
  constexpr int kInFlight = 8;  // rows that are read before the first is added
  const std::int64_t warp =
      static_cast<std::int64_t>(blockY()) * (blockThreads() / kWarpThreads) + warpIndex();
  const std::int64_t column = warp * kWarpColumns;
  const int count = warpColumnsAt(column, p.columns);
  if (count == 0) return;
  const TokenRun run = p.runs[blockX()];
  float* grad = p.gradTable + run.id * p.columns + column;
  FourFloats sum = loadColumns<kAligned>(grad, count);
  for (int first = run.begin; first < run.end; first += kInFlight) {
    FourFloats rows[kInFlight];
    WGQA_UNROLL
    for (int i = 0; i < kInFlight; ++i) {
      if (first + i >= run.end) continue;
      rows[i] = loadColumns<kAligned>(p.gradOut + p.tokens[first + i] * p.columns + column, count);
    }
    WGQA_UNROLL
    for (int i = 0; i < kInFlight; ++i) {
      if (first + i >= run.end) continue;
      WGQA_UNROLL
      for (int j = 0; j < 4; ++j) sum.values[j] += rows[i].values[j];
    }
  }
  storeColumns<kAligned>(sum, grad, count);
}

}  // namespace

std::vector<KernelEntry> embeddingKernels() {
  return {kernelEntry<embedding<float>>(kEmbedding[0]),
          kernelEntry<embedding<Float16Element>>(kEmbedding[1]),
          kernelEntry<embedding<BFloat16Element>>(kEmbedding[2]),
          kernelEntry<embeddingBackward<false>>(kEmbeddingBackward[0]),
          kernelEntry<embeddingBackward<true>>(kEmbeddingBackward[1])};
}

}  // namespace wgqa::cuda
