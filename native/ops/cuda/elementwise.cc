#include "ops/cuda/kernels/elementwise.h"

#include "ops/cuda/attention_shape.h"
#include "ops/cuda/grids.h"
#include "ops/cuda/operations.h"

namespace wgqa::cuda {
namespace {

constexpr int kThreads = 256;

Grid gridOf(std::int64_t rows, std::int64_t columns, Session& session) {
  const std::int64_t groups = rows * divideUp(columns, kColumnsPerThread);
  return {stridedBlocks(divideUp(groups, kThreads), session)};
}

// [rows, columns]: the first dimensions are one.
struct Matrix {
  std::int64_t rows;
  std::int64_t columns;
};

Matrix matrixOf(const ConstTensorView& view) { return {view.shape[0], view.shape[1]}; }

int floatIndex(DType dtype) {
  return dtype == DType::float32 ? 0 : dtype == DType::float16 ? 1 : 2;
}

}  // namespace

void dropout(const Dropout& p, Session& session) {
  const Matrix m = matrixOf(p.x);
  const auto kernel = p.out.dtype == DType::bfloat16 ? kDropoutBFloat16 : kDropoutFloat32;
  session.launch(kernel, gridOf(m.rows, m.columns, session), {kThreads},
                 {.x = p.x.as<float>(),
                  .residual = p.residual.as<float>(),
                  .out = p.out.data,
                  .rows = m.rows,
                  .columns = m.columns,
                  .dropout = dropoutArguments(p.dropout)});
}

void gatedActivation(const GatedActivation& p, Session& session) {
  const Matrix m = matrixOf(p.gate);
  const auto& kernels = p.out.dtype == DType::bfloat16 ? kGatedBFloat16 : kGatedFloat32;
  session.launch(kernels[static_cast<int>(p.activation)], gridOf(m.rows, m.columns, session),
                 {kThreads},
                 {.gate = p.gate.as<float>(),
                  .linear = p.linear.as<float>(),
                  .out = p.out.data,
                  .rows = m.rows,
                  .columns = m.columns,
                  .dropout = dropoutArguments(p.dropout)});
}

void gatedActivationBackward(const GatedActivationBackward& p, Session& session) {
  const Matrix m = matrixOf(p.gate);
  const auto& kernels =
      p.gradGate.dtype == DType::bfloat16 ? kGatedBackwardBFloat16 : kGatedBackwardFloat32;
  session.launch(kernels[static_cast<int>(p.activation)], gridOf(m.rows, m.columns, session),
                 {kThreads},
                 {.gate = p.gate.as<float>(),
                  .linear = p.linear.as<float>(),
                  .gradOut = p.gradOut.as<float>(),
                  .gradGate = p.gradGate.data,
                  .gradLinear = p.gradLinear.data,
                  .rows = m.rows,
                  .columns = m.columns,
                  .dropout = dropoutArguments(p.dropout)});
}

void cast(const Cast& p, Session& session) {
  const std::int64_t count = p.x.elements();
  const std::int64_t blocks = divideUp(count, kCastPerThread * kThreads);
  session.launch(kCast[floatIndex(p.x.dtype)][floatIndex(p.out.dtype)],
                 {stridedBlocks(blocks, session)}, {kThreads},
                 {.x = p.x.data, .out = p.out.data, .count = count});
}

}  // namespace wgqa::cuda
