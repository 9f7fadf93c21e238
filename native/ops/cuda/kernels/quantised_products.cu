#include "ops/cuda/kernels/quantised_products.h"

#include "ops/cuda/kernels/groups.h"
#include "ops/cuda/kernels/quantisation.h"
#include "ops/cuda/kernels/reduce.h"
#include "ops/cuda/kernels/registry.h"

namespace wgqa::cuda {
namespace {

// The largest magnitude of a row; NaN if it holds one, or an infinity.
template <typename T>
WGQA_DEVICE float largestOf(const T* row, std::int64_t columns, float* shared) {
  float largest = 0.0f;
  float invalid = 0.0f;
  for (std::int64_t column = 4 * threadIndex(); column < columns; column += 4 * blockThreads()) {
    const FourFloats four = loadFour(row + column, validAt(column, columns));
    WGQA_UNROLL
    for (int i = 0; i < 4; ++i) {
      largest = fmaxf(largest, fabsf(four.values[i]));
      invalid += four.values[i] - four.values[i];
    }
  }
  return blockMax(largest, shared) + blockSum(invalid, shared + kWarpThreads);
}

// A block per row. Of a row that is padding it reads nothing and writes zeros.
template <typename T>
WGQA_KERNEL void WGQA_BOUNDS(256, 4) quantiseRows(QuantiseRowsArguments p) {
  const std::int64_t row = blockX();
  const T* from = static_cast<const T*>(p.rows) + row * p.rowStride;
  std::int8_t* to = p.integers + row * p.integerStride;
  const std::int64_t columns = row < p.rowCount ? p.columns : 0;
  const Quantiser quantiser(largestOf(from, columns, dynamicShared<float>()));
  for (std::int64_t column = 4 * threadIndex(); column < p.integerStride;
       column += 4 * blockThreads()) {
    FourFloats four{};
    if (column < columns) four = loadFour(from + column, validAt(column, columns));
    Vector<std::int8_t, 4> integers;
    WGQA_UNROLL
    for (int i = 0; i < 4; ++i) {
      integers.elements[i] = static_cast<std::int8_t>(quantiser.integer(four.values[i]));
    }
    storeVector(to + column, integers);
  }
  if (threadIndex() == 0 && columns > 0) p.scales[row] = quantiser.scale;
}

// Blocks for the columns (y) of each row (x), four columns to a thread.
template <typename Out>
WGQA_KERNEL void WGQA_BOUNDS(256, 4) scaleSums(ScaleSumsArguments p) {
  const std::int64_t row = blockX();
  const std::int64_t column =
      4 * (static_cast<std::int64_t>(blockY()) * blockThreads() + threadIndex());
  if (column >= p.columns) return;
  const int valid = validAt(column, p.columns);
  const auto sums = loadVector<4>(p.sums + row * p.sumStride + column);
  const FourFloats scales = loadFour(p.columnScales + column, valid);
  Out* out = static_cast<Out*>(p.out) + row * p.outStride + column;
  FourFloats result{};
  if (p.beta != 0.0f) result = loadFour(out, valid);
  const float rowScale = p.alpha * p.rowScales[row];
  WGQA_UNROLL
  for (int i = 0; i < 4; ++i) {
    const float product = static_cast<float>(sums.elements[i]) * (rowScale * scales.values[i]);
    result.values[i] = product + p.beta * result.values[i];
  }
  storeFour(result, out, valid);
}

}  // namespace

std::vector<KernelEntry> quantisedProductKernels() {
  return {kernelEntry<quantiseRows<float>>(kQuantiseRows[0]),
          kernelEntry<quantiseRows<Float16Element>>(kQuantiseRows[1]),
          kernelEntry<quantiseRows<BFloat16Element>>(kQuantiseRows[2]),
          kernelEntry<scaleSums<float>>(kScaleSums[0]),
          kernelEntry<scaleSums<BFloat16Element>>(kScaleSums[1])};
}

}  // namespace wgqa::cuda
