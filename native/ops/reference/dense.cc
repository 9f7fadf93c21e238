#include <algorithm>
#include <cmath>

#include "ops/reference/functions.h"
#include "ops/reference/reference_ops.h"

namespace wgqa::reference {

Wide matmul(const Wide& a, const Wide& b, std::int64_t m, std::int64_t k, std::int64_t n) {
  Wide product(m * n);
  for (std::int64_t row = 0; row < m; ++row) {
    // The inner loop runs along rows of b and of the product: the order memory is read in.
    for (std::int64_t i = 0; i < k; ++i) {
      const double factor = a[row * k + i];
      for (std::int64_t column = 0; column < n; ++column) {
        product[row * n + column] += factor * b[i * n + column];
      }
    }
  }
  return product;
}

namespace {

class ReferenceWeight final : public PackedWeight {
 public:
  Wide transposed;  // [inFeatures, outFeatures], rounded to `dtype`
};

// The nearest number of a floating type.
double roundedTo(DType dtype, double value) {
  const auto narrow = static_cast<float>(value);
  if (dtype == DType::float16) return toFloat(toFloat16(narrow));
  if (dtype == DType::bfloat16) return toFloat(toBFloat16(narrow));
  return value;
}

// Rows of `columns` numbers, each rounded to float16 times a power of two of its own.
void scaleRows(Wide& values, std::int64_t columns) {
  constexpr int kTarget = 14;  // of the exponent of a row's largest magnitude
  for (auto row = values.begin(); row < values.end(); row += columns) {
    double largest = 0.0;
    for (auto value = row; value < row + columns; ++value) {
      largest = std::max(largest, std::abs(*value));
    }
    const int shift = largest > 0.0 ? kTarget - std::ilogb(largest) : 0;
    for (auto value = row; value < row + columns; ++value) {
      *value = std::ldexp(roundedTo(DType::float16, std::ldexp(*value, shift)), -shift);
    }
  }
}

// Rows of `columns` numbers, each rounded to a multiple of 1 / 127 of its row's largest magnitude.
void quantiseRows(Wide& values, std::int64_t columns) {
  for (auto row = values.begin(); row < values.end(); row += columns) {
    const double scale = quantise(std::span(row, row + columns));
    for (auto value = row; value < row + columns; ++value) *value *= scale;
  }
}

Wide transposedRows(const Wide& rows, std::int64_t columns) {
  Wide result(rows.size());
  const auto count = static_cast<std::int64_t>(rows.size()) / columns;
  for (std::int64_t row = 0; row < count; ++row) {
    for (std::int64_t i = 0; i < columns; ++i) result[i * count + row] = rows[row * columns + i];
  }
  return result;
}

// out = alpha * product + beta * out; out is not read when beta is 0.
void blend(Wide product, const TensorView& out, double alpha, double beta) {
  for (double& value : product) value *= alpha;
  if (beta != 0.0) {
    const Wide before = load(out);
    for (std::size_t i = 0; i < product.size(); ++i) product[i] += beta * before[i];
  }
  store(product, out);
}

}  // namespace

std::unique_ptr<PackedWeight> ReferenceOps::pack(const ConstTensorView& weight, DType dtype) {
  auto packed = std::make_unique<ReferenceWeight>();
  packed->outFeatures = weight.shape[0];
  packed->inFeatures = weight.shape[1];
  packed->dtype = dtype;
  packed->bytes = weight.elements() * static_cast<std::int64_t>(bytesOf(dtype));
  Wide rows = load(weight);
  if (dtype == DType::int8) quantiseRows(rows, packed->inFeatures);
  for (double& value : rows) value = roundedTo(dtype, value);
  packed->transposed = transposedRows(rows, packed->inFeatures);
  return packed;
}

void ReferenceOps::linear(std::span<const Linear> products) {
  const ScopeTimer timer(times_.denseSeconds);
  for (const Linear& p : products) {
    const auto& weight = dynamic_cast<const ReferenceWeight&>(*p.weight);
    Wide x = load(p.x);
    if (weight.dtype == DType::int8) quantiseRows(x, weight.inFeatures);
    const bool isScaled = weight.dtype == DType::float16 && p.x.dtype == DType::float32;
    if (isScaled) scaleRows(x, weight.inFeatures);
    blend(reference::matmul(x, weight.transposed, p.x.shape[0], weight.inFeatures,
                            weight.outFeatures),
          p.out, p.alpha, p.beta);
    times_.weightBytes += weight.bytes;
  }
}

void ReferenceOps::matmul(const Matmul& p) {
  const ScopeTimer timer(times_.denseSeconds);
  blend(reference::matmul(load(p.a), load(p.b), p.a.shape[0], p.a.shape[1], p.b.shape[1]), p.c,
        p.alpha, p.beta);
}

}  // namespace wgqa::reference
