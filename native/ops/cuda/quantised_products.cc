// Products with int8 weights: rows of x become integers as they come, the library sums exactly, and
// the sums are scaled.
#include "ops/cuda/kernels/quantised_products.h"

#include <algorithm>

#include "ops/cuda/grids.h"
#include "ops/cuda/kernel_types.h"
#include "ops/cuda/operations.h"

namespace wgqa::cuda {
namespace {

constexpr int kThreads = 256;
constexpr std::int64_t kColumnsPerBlock = 4 * kThreads;

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
                 {kThreads, 2 * kReduceBytes},
                 {.rows = rows.data,
                  .integers = to.integers,
                  .scales = to.scales,
                  .rowStride = rows.strides[0],
                  .integerStride = padded(rows.shape[1]),
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
  session.launch(kScaleSums[computeIndex(p.out.dtype)],
                 {p.x.shape[0], divideUp(weight.outFeatures, kColumnsPerBlock)}, {kThreads},
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

}  // namespace wgqa::cuda
