#include "ops/cuda/kernels/elementwise.h"

#include "ops/cuda/attention_shape.h"
#include "ops/cuda/grids.h"
#include "ops/cuda/kernel_types.h"
#include "ops/cuda/operations.h"

namespace wgqa::cuda {
namespace {

constexpr int kThreads = 256;

Grid gridOf(const ConstTensorView& matrix, Session& session) {
  const std::int64_t groups = matrix.shape[0] * divideUp(matrix.shape[1], kColumnsPerThread);
  return {stridedBlocks(divideUp(groups, kThreads), session)};
}

}  // namespace

void dropout(const Dropout& p, Session& session) {
  const auto kernel = p.out.dtype == DType::bfloat16 ? kDropoutBFloat16 : kDropoutFloat32;
  session.launch(kernel, gridOf(p.x, session), {kThreads},
                 {.x = p.x.as<float>(),
                  .residual = p.residual.as<float>(),
                  .out = p.out.data,
                  .rows = p.x.shape[0],
                  .columns = p.x.shape[1],
                  .dropout = dropoutArguments(p.dropout)});
}

void gatedActivation(const GatedActivation& p, Session& session) {
  const auto& kernels = p.out.dtype == DType::bfloat16 ? kGatedBFloat16 : kGatedFloat32;
  session.launch(kernels[static_cast<int>(p.activation)], gridOf(p.gate, session), {kThreads},
                 {.gate = p.gate.as<float>(),
                  .linear = p.linear.as<float>(),
                  .out = p.out.data,
                  .rows = p.gate.shape[0],
                  .columns = p.gate.shape[1],
                  .dropout = dropoutArguments(p.dropout)});
}

void gatedActivationBackward(const GatedActivationBackward& p, Session& session) {
  const auto& kernels =
      p.gradGate.dtype == DType::bfloat16 ? kGatedBackwardBFloat16 : kGatedBackwardFloat32;
  session.launch(kernels[static_cast<int>(p.activation)], gridOf(p.gate, session), {kThreads},
                 {.gate = p.gate.as<float>(),
                  .linear = p.linear.as<float>(),
                  .gradOut = p.gradOut.as<float>(),
                  .gradGate = p.gradGate.data,
                  .gradLinear = p.gradLinear.data,
                  .rows = p.gate.shape[0],
                  .columns = p.gate.shape[1],
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
