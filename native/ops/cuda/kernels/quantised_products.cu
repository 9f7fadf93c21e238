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
template <typename T, typename Stored, typename RowQuantiser>
WGQA_KERNEL void WGQA_BOUNDS(256, 4) quantiseRows(QuantiseRowsArguments<Stored> p) {
  const std::int64_t row = blockX();
  const T* from = static_cast<const T*>(p.rows) + row * p.rowStride;
  Stored* to = p.stored + row * p.storedStride;
  const std::int64_t columns = row < p.rowCount ? p.columns : 0;
  const RowQuantiser quantiser(largestOf(from, columns, dynamicShared<float>()));
  for (std::int64_t column = 4 * threadIndex(); column < p.storedStride;
       column += 4 * blockThreads()) {
    FourFloats four{};
    if (column < columns) four = loadFour(from + column, validAt(column, columns));
    Vector<Stored, 4> stored;
    WGQA_UNROLL
    for (int i = 0; i < 4; ++i) quantiser.store(four.values[i], stored.elements[i]);
    storeVector(to + column, stored);
  }
  if (threadIndex() == 0 && columns > 0) p.scales[row] = quantiser.scale;
}

// Blocks for the columns (y) of each row (x), four columns to a thread.
template <typename Sum, typename Out>
WGQA_KERNEL void WGQA_BOUNDS(256, 4) scaleSums(ScaleSumsArguments<Sum> p) {
  const std::int64_t row = blockX();
  const std::int64_t column =
      4 * (static_cast<std::int64_t>(blockY()) * blockThreads() + threadIndex());
  if (column >= p.columns) return;
  const int valid = validAt(column, p.columns);
  const auto sums = loadVector<4>(p.sums + row * p.sumStride + column);
  FourFloats scales{{1.0f, 1.0f, 1.0f, 1.0f}};
  if (p.columnScales != nullptr) scales = loadFour(p.columnScales + column, valid);
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
  using Integer = std::int8_t;
  return {kernelEntry<quantiseRows<float, Integer, Quantiser>>(kQuantiseRows[0]),
          kernelEntry<quantiseRows<Float16Element, Integer, Quantiser>>(kQuantiseRows[1]),
          kernelEntry<quantiseRows<BFloat16Element, Integer, Quantiser>>(kQuantiseRows[2]),
          kernelEntry<quantiseRows<float, Float16Element, Float16Scaler>>(kQuantiseRowsToFloat16),
          kernelEntry<scaleSums<std::int32_t, float>>(kScaleSums[0]),
          kernelEntry<scaleSums<std::int32_t, BFloat16Element>>(kScaleSums[1]),
          kernelEntry<scaleSums<float, float>>(kScaleFloatSums)};
}

}  // namespace wgqa::cuda
