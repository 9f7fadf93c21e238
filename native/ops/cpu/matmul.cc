#include "ops/cpu/matmul.h"

#include <oneapi/dnnl/dnnl.h>

#include <algorithm>

#include "base/parallel.h"

namespace wgqa::cpu {
namespace {

using dnnl::memory;

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

std::int64_t outputStride(const Matmul& p) {
  const std::int64_t n = p.c.shape[1];
  return p.c.shape[0] == 1 ? n : std::max(p.c.strides[0], n);
}

void runFloat32(const Matmul& p) {
  const BlasOperand a = blasOperand(p.a);
  const BlasOperand b = blasOperand(p.b);
  const dnnl_status_t status =
      dnnl_sgemm(a.transposed, b.transposed, p.c.shape[0], p.c.shape[1], p.a.shape[1], p.alpha,
                 p.a.as<float>(), a.leadingDimension, p.b.as<float>(), b.leadingDimension, p.beta,
                 p.c.as<float>(), outputStride(p));
  if (status == dnnl_out_of_memory) {
    throw Error(ErrorCode::outOfMemory, "out of memory in a matrix product");
  }
  require(status == dnnl_success, "oneDNN refused a matrix product");
}

memory::desc bfloat16Operand(const ConstTensorView& view, const BlasOperand& layout) {
  const memory::dims strides = layout.transposed == 'N' ? memory::dims{layout.leadingDimension, 1}
                                                        : memory::dims{1, layout.leadingDimension};
  return {{view.shape[0], view.shape[1]}, memory::data_type::bf16, strides};
}

std::int64_t signedStride(const BlasOperand& layout) {
  return layout.transposed == 'N' ? layout.leadingDimension : -layout.leadingDimension;
}

}  // namespace

bool MatmulProducts::runsBFloat16() {
  static const bool runs = [] {
    try {
      const auto square = [](memory::data_type type) {
        return memory::desc({16, 16}, type, memory::format_tag::ab);
      };
      onednn::describe(square(memory::data_type::bf16), square(memory::data_type::bf16),
                       square(memory::data_type::f32));
      return true;
    } catch (const dnnl::error&) {
      return false;
    }
  }();
  return runs;
}

void MatmulProducts::runBFloat16(const Matmul& p) try {
  const std::int64_t m = p.c.shape[0];
  const std::int64_t n = p.c.shape[1];
  const std::int64_t k = p.a.shape[1];
  const BlasOperand a = blasOperand(p.a);
  const BlasOperand b = blasOperand(p.b);
  const int threads = onednn::threadsFor(m * n * k);
  const onednn::LibraryThreads limit(threads);
  const Key key{m,       n,      k,      signedStride(a), signedStride(b), outputStride(p),
                p.alpha, p.beta, threads};
  const auto describeProduct = [&] {
    const memory::desc c({m, n}, memory::data_type::f32, memory::dims{outputStride(p), 1});
    return onednn::describe(bfloat16Operand(p.a, a), bfloat16Operand(p.b, b), c,
                            onednn::scaling(p.alpha, p.beta));
  };
  programs_.find(key, describeProduct).run(p.a.data, p.b.data, p.c.data);
} catch (const dnnl::error& error) {
  throw onednn::asError(error);
}

void MatmulProducts::run(const Matmul& p) {
  if (p.c.shape[0] == 0 || p.c.shape[1] == 0) return;
  if (p.a.shape[1] == 0) return scaleOutput(p);
  require(p.a.dtype == p.b.dtype, "matmul: operands of different types");
  restWorkers();  // the library has threads of its own
  if (p.a.dtype == DType::bfloat16) {
    runBFloat16(p);
  } else {
    runFloat32(p);
  }
}

}  // namespace wgqa::cpu
