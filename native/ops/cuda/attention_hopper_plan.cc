#include "ops/cuda/attention_hopper_plan.h"

#include "ops/cuda/attention_tensor_plan.h"
#include "ops/cuda/kernels/attention_hopper.h"

namespace wgqa::cuda {
namespace {

constexpr std::int32_t kHopper = 90;

// Bytes of shared memory, at most: with dropout tiles are no larger, and a bias reaches no farther
// than its largest distance.
std::int64_t sharedBytesFor(const AttentionShape& shape, std::int64_t headDim) {
  const std::int64_t reach =
      shape.bias.given() ? relativeBiasReach(shape.bias, shape.bias.maxDistance) : 0;
  const std::int64_t bias = shape.bias.given() ? biasWindowFloats(static_cast<int>(reach)) : 0;
  return headDim <= 64 ? AttentionHopperTiles<64, false>::sharedBytes(bias)
                       : AttentionHopperTiles<128, false>::sharedBytes(bias);
}

}  // namespace

bool takesHopper(const AttentionPrefill& p, const DeviceProperties& device) {
  if (device.computeCapability != kHopper || p.k.elements() == 0 || p.q.elements() == 0) {
    return false;
  }
  const std::int64_t headDim = p.q.shape[2];
  return takesTensorCores(p.shape, headDim, {p.q, p.k, p.v, p.out}) &&
         sharedBytesFor(p.shape, headDim) <= device.sharedBytesPerBlock;
}

TensorMap mapBoxes(const ConstTensorView& tensor, std::int32_t boxTokens, Session& session) {
  return session.device().map({.data = tensor.data,
                               .tokens = tensor.shape[0],
                               .heads = static_cast<std::int32_t>(tensor.shape[1]),
                               .columns = static_cast<std::int32_t>(tensor.shape[2]),
                               .boxTokens = boxTokens});
}

}  // namespace wgqa::cuda
