#include "ops/cpu/matmul.h"

#include <oneapi/dnnl/dnnl.h>

#include <algorithm>

#include "base/parallel.h"

namespace wgqa::cpu {
namespace {

/// A row-major operand as BLAS names it.
struct BlasOperand {
  char transposed;  // 'N' or 'T'
  dnnl_dim_t leadingDimension;
};

// A stride along a dimension of one element says nothing, so each case also takes such views.
BlasOperand blasOperand(const ConstTensorView& view) {
  const std::int64_t rows = view.shape[0];
  const std::int64_t columns = view.shape[1];
  if (view.strides[1] == 1 || columns == 1) {
    return {'N', rows == 1 ? columns : std::max(view.strides[0], columns)};
  }
  require(view.strides[0] == 1 || rows == 1, "matmul: an operand has no dense dimension");
  return {'T', std::max(view.strides[1], rows)};
}

void scaleOutput(const Matmul& p) {
  for (std::int64_t row = 0; row < p.c.shape[0]; ++row) {
    float* c = p.c.as<float>() + row * p.c.strides[0];
    for (std::int64_t i = 0; i < p.c.shape[1]; ++i) c[i] = p.beta == 0.0f ? 0.0f : p.beta * c[i];
  }
}

}  // namespace

void matmul(const Matmul& p) {
  const std::int64_t m = p.c.shape[0];
  const std::int64_t n = p.c.shape[1];
  const std::int64_t k = p.a.shape[1];
  if (m == 0 || n == 0) return;
  if (k == 0) return scaleOutput(p);
  const BlasOperand a = blasOperand(p.a);
  const BlasOperand b = blasOperand(p.b);
  restWorkers();  // the library has threads of its own
  const dnnl_status_t status =
      dnnl_sgemm(a.transposed, b.transposed, m, n, k, p.alpha, p.a.as<float>(), a.leadingDimension,
                 p.b.as<float>(), b.leadingDimension, p.beta, p.c.as<float>(),
                 m == 1 ? n : std::max(p.c.strides[0], n));
  if (status == dnnl_out_of_memory) {
    throw Error(ErrorCode::outOfMemory, "out of memory in a matrix product");
  }
  require(status == dnnl_success, "oneDNN refused a matrix product");
}

}  // namespace wgqa::cpu
