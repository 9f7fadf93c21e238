// Products of rows that get a scale each. With int8 weights they become integers as they come, and
// the library sums exactly; with float16 weights float32 rows come within the range of that type.
// The sums are scaled.
#include "ops/cuda/kernels/quantised_products.h"

#include <algorithm>

#include "ops/cuda/grids.h"
#include "ops/cuda/kernel_types.h"
#include "ops/cuda/operations.h"

namespace wgqa::cuda {
namespace {

// Threads that take four columns each: whole warps of a row, 256 at most.
int rowThreads(std::int64_t columns) {
  return threadsOf(std::clamp<std::int64_t>(divideUp(columns, 4 * kWarpThreadCount), 1, 8));
}

// A block for so many columns of each row.
Grid rowBlocks(std::int64_t rows, std::int64_t columns) {
  return {rows, divideUp(columns, 4 * rowThreads(columns))};
}

std::int64_t padded(std::int64_t count) {
  return divideUp(count, kQuantisedAlignment) * kQuantisedAlignment;
}

// Of 16 rows and fewer cuBLASLt has no integer products (pytorch/pytorch#178469).
std::int64_t paddedRows(std::int64_t count) {
  return std::max<std::int64_t>(2 * kQuantisedAlignment, padded(count));
}

struct QuantisedRows {
  std::int8_t* integers;  // [paddedRows(rows), padded(columns)]
  float* scales;          // [rows]
};

void quantise(const ConstTensorView& rows, const QuantisedRows& to, Session& session) {
  session.launch(kQuantiseRows[floatIndex(rows.dtype)], {paddedRows(rows.shape[0])},
                 {rowThreads(rows.shape[1]), 2 * kReduceBytes},
                 {.rows = rows.data,
                  .stored = to.integers,
                  .scales = to.scales,
                  .rowStride = rows.strides[0],
                  .storedStride = padded(rows.shape[1]),
                  .rowCount = rows.shape[0],
                  .columns = rows.shape[1]});
}

class QuantisedWeight final : public PackedWeight {
 public:
  QuantisedWeight(const ConstTensorView& weight, Session& session)
      : integers_(session.device(),
                  static_cast<std::size_t>(paddedRows(weight.shape[0]) * padded(weight.shape[1]))),
        scales_(session.device(), static_cast<std::size_t>(weight.shape[0]) * sizeof(float)) {
    outFeatures = weight.shape[0];
    inFeatures = weight.shape[1];
    dtype = DType::int8;
    bytes = static_cast<std::int64_t>(integers_.bytes() + scales_.bytes());
    quantise(weight, {integers_.as<std::int8_t>(), scales_.as<float>()}, session);
  }

  const std::int8_t* integers() const { return integers_.as<std::int8_t>(); }
  const float* scales() const { return scales_.as<float>(); }

 private:
  Buffer integers_;
  Buffer scales_;
};

void multiply(const Linear& p, const QuantisedRows& x, Session& session) {
  const auto& weight = static_cast<const QuantisedWeight&>(*p.weight);
  const std::int64_t rows = paddedRows(p.x.shape[0]);
  const std::int64_t columns = paddedRows(weight.outFeatures);
  const std::int64_t inner = padded(weight.inFeatures);
  auto* sums = session.scratch<std::int32_t>(Session::Scratch::third, rows * columns);
  session.stream().multiply({.rows = rows,
                             .columns = columns,
                             .inner = inner,
                             .a = x.integers,
                             .aStride = inner,
                             .aTransposed = false,
                             .b = weight.integers(),
                             .bStride = inner,
                             .bTransposed = true,
                             .out = sums,
                             .outStride = columns,
                             .input = ElementType::int8,
                             .output = ElementType::int32,
                             .alpha = 1.0f,
                             .beta = 0.0f});
  session.launch(kScaleSums[computeIndex(p.out.dtype)], rowBlocks(p.x.shape[0], weight.outFeatures),
                 {rowThreads(weight.outFeatures)},
                 {.sums = sums,
                  .rowScales = x.scales,
                  .columnScales = weight.scales(),
                  .out = p.out.data,
                  .sumStride = columns,
                  .outStride = p.out.strides[0],
                  .columns = weight.outFeatures,
                  .alpha = p.alpha,
                  .beta = p.beta});
}

// A matrix whose rows begin at multiples of 16 elements.
TensorView paddedMatrix(void* data, DType dtype, std::int64_t rows, std::int64_t columns) {
  TensorView view(data, dtype, {rows, columns});
  view.strides[0] = padded(columns);
  return view;
}

// The rows of a float32 matrix in float16, each by a power of two of its own.
struct Float16Rows {
  TensorView rows;
  float* scales;

  Float16Rows(const ConstTensorView& x, Session& session)
      : rows(paddedMatrix(session.scratch<Float16Element>(Session::Scratch::first,
                                                          x.shape[0] * padded(x.shape[1])),
                          DType::float16, x.shape[0], x.shape[1])),
        scales(session.scratch<float>(Session::Scratch::second, x.shape[0])) {
    session.launch(kQuantiseRowsToFloat16, {x.shape[0]}, {rowThreads(x.shape[1]), 2 * kReduceBytes},
                   {.rows = x.data,
                    .stored = rows.as<Float16Element>(),
                    .scales = scales,
                    .rowStride = x.strides[0],
                    .storedStride = rows.strides[0],
                    .rowCount = x.shape[0],
                    .columns = x.shape[1]});
  }
};

}  // namespace

std::unique_ptr<PackedWeight> packQuantised(const ConstTensorView& weight, Session& session) {
  return std::make_unique<QuantisedWeight>(weight, session);
}

void linearQuantised(std::span<const Linear> products, Session& session) {
  const ConstTensorView& x = products.front().x;
  const std::int64_t rows = x.shape[0];
  const QuantisedRows quantised{
      session.scratch<std::int8_t>(Session::Scratch::first, paddedRows(rows) * padded(x.shape[1])),
      session.scratch<float>(Session::Scratch::second, rows)};
  quantise(x, quantised, session);
  for (const Linear& p : products) multiply(p, quantised, session);
}

void linearOfFloatRows(const Linear& p, Session& session) {
  const Float16Rows x(p.x, session);
  const std::int64_t rows = p.x.shape[0];
  const std::int64_t columns = p.weight->outFeatures;
  const TensorView sums =
      paddedMatrix(session.scratch<float>(Session::Scratch::third, rows * padded(columns)),
                   DType::float32, rows, columns);
  linear({.x = x.rows, .weight = p.weight, .out = sums}, session);
  session.launch(kScaleFloatSums, rowBlocks(rows, columns), {rowThreads(columns)},
                 {.sums = sums.as<float>(),
                  .rowScales = x.scales,
                  .columnScales = nullptr,
                  .out = p.out.data,
                  .sumStride = sums.strides[0],
                  .outStride = p.out.strides[0],
                  .columns = columns,
                  .alpha = p.alpha,
                  .beta = p.beta});
}

}  // namespace wgqa::cuda
