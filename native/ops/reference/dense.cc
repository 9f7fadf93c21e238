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
  packed->transposed = load(weight.transposed());
  if (dtype == DType::bfloat16) {
    for (double& value : packed->transposed) {
      value = toFloat(toBFloat16(static_cast<float>(value)));
    }
  }
  return packed;
}

void ReferenceOps::linear(const Linear& p) {
  const ScopeTimer timer(times_.denseSeconds);
  const auto& weight = dynamic_cast<const ReferenceWeight&>(*p.weight);
  blend(reference::matmul(load(p.x), weight.transposed, p.x.shape[0], weight.inFeatures,
                          weight.outFeatures),
        p.out, p.alpha, p.beta);
  times_.weightBytes += weight.bytes;
}

void ReferenceOps::matmul(const Matmul& p) {
  const ScopeTimer timer(times_.denseSeconds);
  blend(reference::matmul(load(p.a), load(p.b), p.a.shape[0], p.a.shape[1], p.b.shape[1]), p.c,
        p.alpha, p.beta);
}

}  // namespace wgqa::reference
