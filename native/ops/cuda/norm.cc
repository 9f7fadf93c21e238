#include "ops/cuda/kernels/norm.h"

#include "ops/cuda/operations.h"

namespace wgqa::cuda {
namespace {

constexpr int kThreads = 256;

}  // namespace

void rmsNorm(const RmsNorm& p, Session& session) {
  const auto kernel = p.out.dtype == DType::bfloat16 ? kRmsNormBFloat16 : kRmsNormFloat32;
  session.launch(kernel, {p.x.shape[0]}, {kThreads, 32 * sizeof(float)},
                 {.x = p.x.as<float>(),
                  .weight = p.weight.as<float>(),
                  .out = p.out.data,
                  .inverseRms = p.inverseRms.as<float>(),
                  .columns = p.x.shape[1],
                  .epsilon = p.epsilon});
}

void rmsNormBackward(const RmsNormBackward&, Session&) {
  throw Error(ErrorCode::unsupported, "todo");
}

}  // namespace wgqa::cuda
