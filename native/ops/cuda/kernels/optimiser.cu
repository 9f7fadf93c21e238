#include "ops/cuda/kernels/optimiser.h"

#include "ops/cuda/kernels/groups.h"
#include "ops/cuda/kernels/reduce.h"
#include "ops/cuda/kernels/registry.h"

namespace wgqa::cuda {
namespace {

WGQA_DEVICE std::int64_t endOf(const Chunk& chunk, std::int64_t count) {
  return chunk.begin + kChunkElements < count ? chunk.begin + kChunkElements : count;
}

WGQA_DEVICE int validAt(std::int64_t i, std::int64_t end) {
  return end - i < 4 ? static_cast<int>(end - i) : 4;
}

// As PyTorch's: decoupled decay first, bias-corrected moments, epsilon outside the root.
WGQA_KERNEL void WGQA_BOUNDS(256, 4) adamW(AdamWArguments p) {
  const Chunk chunk = p.chunks[blockX()];
  const AdamWTensor tensor = p.tensors[chunk.tensor];
  const std::int64_t end = endOf(chunk, tensor.count);
  for (std::int64_t i = chunk.begin + 4 * threadIndex(); i < end; i += 4 * blockThreads()) {
    const int valid = validAt(i, end);
    FourFloats value = loadFour(tensor.value + i, valid);
    const FourFloats grad = loadFour(tensor.grad + i, valid);
    FourFloats first = loadFour(tensor.firstMoment + i, valid);
    FourFloats second = loadFour(tensor.secondMoment + i, valid);
    WGQA_UNROLL
    for (int j = 0; j < 4; ++j) {
      const float g = grad.values[j] * p.gradScale;
      first.values[j] = p.beta1 * first.values[j] + (1.0f - p.beta1) * g;
      second.values[j] = p.beta2 * second.values[j] + (1.0f - p.beta2) * g * g;
      const float root = sqrtf(second.values[j]) * p.inverseRootCorrection + p.epsilon;
      value.values[j] = value.values[j] * tensor.decayFactor - p.stepSize * first.values[j] / root;
    }
    storeFour(value, tensor.value + i, valid);
    storeFour(first, tensor.firstMoment + i, valid);
    storeFour(second, tensor.secondMoment + i, valid);
  }
}

WGQA_KERNEL void WGQA_BOUNDS(256, 4) squaredNorm(SquaredNormArguments p) {
  const Chunk chunk = p.chunks[blockX()];
  const SquaresTensor tensor = p.tensors[chunk.tensor];
  const std::int64_t end = endOf(chunk, tensor.count);
  double sum = 0.0;
  for (std::int64_t i = chunk.begin + 4 * threadIndex(); i < end; i += 4 * blockThreads()) {
    const FourFloats x = loadFour(tensor.values + i, validAt(i, end));
    WGQA_UNROLL
    for (int j = 0; j < 4; ++j) {
      sum += static_cast<double>(x.values[j]) * static_cast<double>(x.values[j]);
    }
  }
  sum = blockSum(sum, dynamicShared<double>());
  if (threadIndex() == 0) p.sums[blockX()] = sum;
}

// ---------------------------------------------------------------------------- Adafactor

WGQA_DEVICE float squareAt(const AdafactorArguments& p, std::int64_t i) {
  const float g = p.grad[i] * p.gradScale;
  return g * g + p.gradEpsilon;
}

WGQA_DEVICE float decayed(const AdafactorArguments& p, float moment, float target) {
  return p.decay * moment + (1.0f - p.decay) * target;
}

WGQA_KERNEL void WGQA_BOUNDS(256, 4) adafactorRows(AdafactorArguments p) {
  const std::int64_t row = blockX();
  float sum = 0.0f;
  for (std::int64_t i = threadIndex(); i < p.columns; i += blockThreads()) {
    sum += squareAt(p, row * p.columns + i);
  }
  sum = blockSum(sum, dynamicShared<float>());
  if (threadIndex() == 0) {
    p.rowMoment[row] = decayed(p, p.rowMoment[row], sum / static_cast<float>(p.columns));
  }
}

WGQA_KERNEL void WGQA_BOUNDS(256, 4) adafactorColumns(AdafactorArguments p) {
  const std::int64_t column = static_cast<std::int64_t>(blockX()) * blockThreads() + threadIndex();
  if (column >= p.columns) return;
  const std::int64_t begin = blockY() * p.rowsPerSlice;
  const std::int64_t end = begin + p.rowsPerSlice < p.rows ? begin + p.rowsPerSlice : p.rows;
  float sum = 0.0f;
  for (std::int64_t row = begin; row < end; ++row) sum += squareAt(p, row * p.columns + column);
  p.columnSums[blockY() * p.columns + column] = sum;
}

WGQA_KERNEL void WGQA_BOUNDS(256, 4) adafactorColumnMoments(AdafactorArguments p) {
  const std::int64_t column = static_cast<std::int64_t>(blockX()) * blockThreads() + threadIndex();
  if (column >= p.columns) return;
  float sum = 0.0f;
  for (std::int64_t slice = 0; slice < p.slices; ++slice) {
    sum += p.columnSums[slice * p.columns + column];
  }
  p.columnMoment[column] = decayed(p, p.columnMoment[column], sum / static_cast<float>(p.rows));
}

WGQA_KERNEL void WGQA_BOUNDS(256, 1) adafactorRowMean(AdafactorArguments p) {
  float sum = 0.0f;
  for (std::int64_t i = threadIndex(); i < p.rows; i += blockThreads()) sum += p.rowMoment[i];
  sum = blockSum(sum, dynamicShared<float>());
  if (threadIndex() == 0) p.totals[0] = sum / static_cast<float>(p.rows);
}

// The update of an element before clipping; its moment is up to date.
WGQA_DEVICE float updateAt(const AdafactorArguments& p, std::int64_t i) {
  const float moment = p.moment != nullptr ? p.moment[i]
                                           : p.rowMoment[i / p.columns] / p.totals[0] *
                                                 p.columnMoment[i % p.columns];
  return p.grad[i] * p.gradScale / sqrtf(moment);
}

WGQA_KERNEL void WGQA_BOUNDS(256, 4) adafactorSquares(AdafactorArguments p) {
  double updates = 0.0;
  double values = 0.0;
  const std::int64_t count = p.rows * p.columns;
  for (std::int64_t i = static_cast<std::int64_t>(blockX()) * blockThreads() + threadIndex();
       i < count; i += static_cast<std::int64_t>(gridX()) * blockThreads()) {
    if (p.moment != nullptr) p.moment[i] = decayed(p, p.moment[i], squareAt(p, i));
    const auto update = static_cast<double>(updateAt(p, i));
    const auto value = static_cast<double>(p.value[i]);
    updates += update * update;
    values += value * value;
  }
  updates = blockSum(updates, dynamicShared<double>());
  blockBarrier();  // the second sum uses the same memory
  values = blockSum(values, dynamicShared<double>());
  if (threadIndex() == 0) {
    p.sums[2 * blockX()] = updates;
    p.sums[2 * blockX() + 1] = values;
  }
}

WGQA_KERNEL void WGQA_BOUNDS(256, 1) adafactorTotals(AdafactorArguments p) {
  double updates = 0.0;
  double values = 0.0;
  for (std::int64_t i = threadIndex(); i < p.blocks; i += blockThreads()) {
    updates += p.sums[2 * i];
    values += p.sums[2 * i + 1];
  }
  updates = blockSum(updates, dynamicShared<double>());
  blockBarrier();  // the second sum uses the same memory
  values = blockSum(values, dynamicShared<double>());
  if (threadIndex() != 0) return;
  const auto count = static_cast<double>(p.rows * p.columns);
  p.totals[1] = static_cast<float>(sqrt(updates / count));
  p.totals[2] = static_cast<float>(sqrt(values / count));
}

WGQA_KERNEL void WGQA_BOUNDS(256, 4) adafactorUpdate(AdafactorArguments p) {
  const std::int64_t count = p.rows * p.columns;
  const float clip = fmaxf(1.0f, p.totals[1] / p.clipThreshold);
  const float scale = p.scalesByParameter != 0 ? fmaxf(p.parameterEpsilon, p.totals[2]) : 1.0f;
  const float learningRate = p.learningRate * scale;
  for (std::int64_t i = static_cast<std::int64_t>(blockX()) * blockThreads() + threadIndex();
       i < count; i += static_cast<std::int64_t>(gridX()) * blockThreads()) {
    p.value[i] =
        p.value[i] * (1.0f - learningRate * p.weightDecay) - learningRate * updateAt(p, i) / clip;
  }
}

}  // namespace

std::vector<KernelEntry> optimiserKernels() {
  return {kernelEntry<adamW>(kAdamW),
          kernelEntry<squaredNorm>(kSquaredNorm),
          kernelEntry<adafactorRows>(kAdafactorRows),
          kernelEntry<adafactorColumns>(kAdafactorColumns),
          kernelEntry<adafactorColumnMoments>(kAdafactorColumnMoments),
          kernelEntry<adafactorRowMean>(kAdafactorRowMean),
          kernelEntry<adafactorSquares>(kAdafactorSquares),
          kernelEntry<adafactorTotals>(kAdafactorTotals),
          kernelEntry<adafactorUpdate>(kAdafactorUpdate)};
}

}  // namespace wgqa::cuda
