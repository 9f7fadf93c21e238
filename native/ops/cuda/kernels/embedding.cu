#include "ops/cuda/kernels/embedding.h"

#include "ops/cuda/kernels/groups.h"
#include "ops/cuda/kernels/registry.h"

namespace wgqa::cuda {
namespace {

WGQA_DEVICE int validAt(std::int64_t column, std::int64_t columns) {
  return columns - column < 4 ? static_cast<int>(columns - column) : 4;
}

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

// A block per id (x) and slice of columns (y).
WGQA_KERNEL void WGQA_BOUNDS(128, 8) embeddingBackward(EmbeddingBackwardArguments p) {
  const std::int64_t column =
      4 * (static_cast<std::int64_t>(blockY()) * blockThreads() + threadIndex());
  if (column >= p.columns) return;
  const int valid = validAt(column, p.columns);
  float* grad = p.gradTable + static_cast<std::int64_t>(p.runIds[blockX()]) * p.columns + column;
  FourFloats sum = loadFour(grad, valid);
  for (int i = p.runs[blockX()]; i < p.runs[blockX() + 1]; ++i) {
    const FourFloats add =
        loadFour(p.gradOut + static_cast<std::int64_t>(p.tokens[i]) * p.columns + column, valid);
    WGQA_UNROLL
    for (int j = 0; j < 4; ++j) sum.values[j] += add.values[j];
  }
  storeFour(sum, grad, valid);
}

}  // namespace

std::vector<KernelEntry> embeddingKernels() {
  return {kernelEntry<embedding<float>>(kEmbedding[0]),
          kernelEntry<embedding<Float16Element>>(kEmbedding[1]),
          kernelEntry<embedding<BFloat16Element>>(kEmbedding[2]),
          kernelEntry<embeddingBackward>(kEmbeddingBackward)};
}

}  // namespace wgqa::cuda
