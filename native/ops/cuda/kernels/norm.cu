#include "ops/cuda/kernels/norm.h"

#include "ops/cuda/kernels/groups.h"
#include "ops/cuda/kernels/reduce.h"
#include "ops/cuda/kernels/registry.h"

namespace wgqa::cuda {
namespace {

// Groups of four columns that a thread keeps in registers between two passes over a row; what is
// beyond is read again, from a cache.
constexpr int kHeld = 4;

WGQA_DEVICE std::int64_t columnOf(int group) {
  return 4 * (static_cast<std::int64_t>(group) * blockThreads() + threadIndex());
}

WGQA_DEVICE int validAt(std::int64_t column, std::int64_t columns) {
  const std::int64_t left = columns - column;
  return left >= 4 ? 4 : left > 0 ? static_cast<int>(left) : 0;
}

WGQA_DEVICE float dot(const FourFloats& a, const FourFloats& b) {
  return a.values[0] * b.values[0] + a.values[1] * b.values[1] + a.values[2] * b.values[2] +
         a.values[3] * b.values[3];
}

template <typename Out>
WGQA_DEVICE void writeNormalised(const FourFloats& x, const RmsNormArguments& p, float inverse,
                                 std::int64_t column, Out* out) {
  const int valid = validAt(column, p.columns);
  const FourFloats weight = loadFour(p.weight + column, valid);
  FourFloats result;
  WGQA_UNROLL
  for (int i = 0; i < 4; ++i) result.values[i] = x.values[i] * inverse * weight.values[i];
  storeFour(result, out + column, valid);
}

template <typename Out>
WGQA_KERNEL void WGQA_BOUNDS(256, 4) rmsNorm(RmsNormArguments p) {
  const float* x = p.x + blockX() * p.columns;
  auto* out = static_cast<Out*>(p.out) + blockX() * p.columns;
  FourFloats held[kHeld];
  float sum = 0.0f;
  WGQA_UNROLL
  for (int group = 0; group < kHeld; ++group) {
    held[group] = loadFour(x + columnOf(group), validAt(columnOf(group), p.columns));
    sum += dot(held[group], held[group]);
  }
  for (int group = kHeld; columnOf(group) < p.columns; ++group) {
    const FourFloats more = loadFour(x + columnOf(group), validAt(columnOf(group), p.columns));
    sum += dot(more, more);
  }
  sum = blockSum(sum, dynamicShared<float>());
  const float inverse = 1.0f / sqrtf(sum / static_cast<float>(p.columns) + p.epsilon);
  WGQA_UNROLL
  for (int group = 0; group < kHeld; ++group) {
    if (columnOf(group) < p.columns) {
      writeNormalised(held[group], p, inverse, columnOf(group), out);
    }
  }
  for (int group = kHeld; columnOf(group) < p.columns; ++group) {
    const FourFloats more = loadFour(x + columnOf(group), validAt(columnOf(group), p.columns));
    writeNormalised(more, p, inverse, columnOf(group), out);
  }
  if (p.inverseRms != nullptr && threadIndex() == 0) p.inverseRms[blockX()] = inverse;
}

// gradX += r y - x r^3 / columns * sum(x y), with r = inverseRms and y = gradOut * weight.
WGQA_KERNEL void WGQA_BOUNDS(256, 4) rmsNormBackward(RmsNormBackwardArguments p) {
  const std::int64_t row = blockX() * p.columns;
  float sum = 0.0f;
  for (int group = 0; columnOf(group) < p.columns; ++group) {
    const std::int64_t column = columnOf(group);
    const int valid = validAt(column, p.columns);
    const FourFloats x = loadFour(p.x + row + column, valid);
    const FourFloats grad = loadFour(p.gradOut + row + column, valid);
    const FourFloats weight = loadFour(p.weight + column, valid);
    WGQA_UNROLL
    for (int i = 0; i < 4; ++i) sum += x.values[i] * (grad.values[i] * weight.values[i]);
  }
  sum = blockSum(sum, dynamicShared<float>());
  const float inverse = p.inverseRms[blockX()];
  const float factor = inverse * inverse * inverse / static_cast<float>(p.columns) * sum;
  for (int group = 0; columnOf(group) < p.columns; ++group) {
    const std::int64_t column = columnOf(group);
    const int valid = validAt(column, p.columns);
    const FourFloats x = loadFour(p.x + row + column, valid);
    const FourFloats grad = loadFour(p.gradOut + row + column, valid);
    const FourFloats weight = loadFour(p.weight + column, valid);
    FourFloats result = loadFour(p.gradX + row + column, valid);
    WGQA_UNROLL
    for (int i = 0; i < 4; ++i) {
      result.values[i] += inverse * (grad.values[i] * weight.values[i]) - x.values[i] * factor;
    }
    storeFour(result, p.gradX + row + column, valid);
  }
}

WGQA_KERNEL void WGQA_BOUNDS(128, 8) rmsNormWeight(RmsNormWeightArguments p) {
  const std::int64_t column =
      4 * (static_cast<std::int64_t>(blockX()) * blockThreads() + threadIndex());
  if (column >= p.columns) return;
  const int valid = validAt(column, p.columns);
  const std::int64_t begin = blockY() * p.rowsPerSlice;
  const std::int64_t end = begin + p.rowsPerSlice < p.rows ? begin + p.rowsPerSlice : p.rows;
  FourFloats sum{};
  for (std::int64_t row = begin; row < end; ++row) {
    const FourFloats x = loadFour(p.x + row * p.columns + column, valid);
    const FourFloats grad = loadFour(p.gradOut + row * p.columns + column, valid);
    const float inverse = p.inverseRms[row];
    WGQA_UNROLL
    for (int i = 0; i < 4; ++i) sum.values[i] += grad.values[i] * x.values[i] * inverse;
  }
  storeFour(sum, p.partial + blockY() * p.columns + column, valid);
}

WGQA_KERNEL void WGQA_BOUNDS(128, 8) sumSlices(SumSlicesArguments p) {
  const std::int64_t i = static_cast<std::int64_t>(blockX()) * blockThreads() + threadIndex();
  if (i >= p.count) return;
  float sum = 0.0f;
  for (std::int64_t slice = 0; slice < p.slices; ++slice) sum += p.partial[slice * p.count + i];
  p.out[i] += sum;
}

}  // namespace

std::vector<KernelEntry> normKernels() {
  return {kernelEntry<rmsNorm<float>>(kRmsNormFloat32),
          kernelEntry<rmsNorm<BFloat16Element>>(kRmsNormBFloat16),
          kernelEntry<rmsNormBackward>(kRmsNormBackward),
          kernelEntry<rmsNormWeight>(kRmsNormWeight), kernelEntry<sumSlices>(kSumSlices)};
}

}  // namespace wgqa::cuda
