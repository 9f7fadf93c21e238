#include "ops/cuda/attention_hopper_plan.h"

#include <algorithm>

#include "ops/cuda/attention_tensor_plan.h"
#include "ops/cuda/kernels/attention_hopper.h"
#include "ops/cuda/kernels/attention_hopper_backward.h"

namespace wgqa::cuda {
namespace {

constexpr std::int32_t kHopper = 90;

// At most: a bias reaches no farther than its largest distance.
std::int64_t mostReach(const RelativeBias& bias) {
  return relativeBiasReach(bias, bias.maxDistance);
}

std::int64_t mostBiasFloats(const RelativeBias& bias) {
  return bias.given() ? biasWindowFloats(static_cast<int>(mostReach(bias))) : 0;
}

// The copy engine knows no empty tensor.
bool hasInstructions(const DeviceProperties& device, const ConstTensorView& q,
                     const ConstTensorView& k) {
  return device.computeCapability == kHopper && q.elements() > 0 && k.elements() > 0;
}

}  // namespace

bool takesHopper(const AttentionPrefill& p, const DeviceProperties& device) {
  const std::int64_t headDim = p.q.shape[2];
  if (!hasInstructions(device, p.q, p.k)) return false;
  if (p.q.dtype != DType::bfloat16 && p.shape.dropout.threshold() != 0) return false;
  if (p.out.dtype != DType::float32 && p.out.dtype != p.q.dtype) return false;
  if (!takesTensorCores(p.shape, headDim, {p.q, p.k, p.v, p.out})) return false;
  // With dropout tiles are no larger.
  const std::int64_t bias = mostBiasFloats(p.shape.bias);
  const std::int64_t bytes = headDim <= 64 ? AttentionHopperTiles<64, false>::sharedBytes(bias)
                                           : AttentionHopperTiles<128, false>::sharedBytes(bias);
  return bytes <= device.sharedBytesPerBlock;
}

bool takesHopper(const AttentionPrefillBackward& p, const DeviceProperties& device) {
  const std::int64_t headDim = p.q.shape[2];
  if (!hasInstructions(device, p.q, p.k) || headDim > kHopperGradientColumns) return false;
  if (p.q.dtype != DType::bfloat16) return false;
  if (!takesTensorCores(p.shape, headDim,
                        {p.q, p.k, p.v, p.out, p.gradOut, p.gradQ, p.gradK, p.gradV})) {
    return false;
  }
  const std::int64_t bias = mostBiasFloats(p.shape.bias);
  const std::int64_t distances = p.gradBiasTable.given() ? 2 * mostReach(p.shape.bias) + 1 : 0;
  return std::max(HopperQueryGradientTiles::sharedBytes(bias, distances),
                  HopperKeyGradientTiles::sharedBytes(bias)) <= device.sharedBytesPerBlock;
}

TensorMap mapBoxes(const ConstTensorView& tensor, std::int32_t boxTokens, Session& session) {
  return session.device().map({.data = tensor.data,
                               .tokens = tensor.shape[0],
                               .heads = static_cast<std::int32_t>(tensor.shape[1]),
                               .columns = static_cast<std::int32_t>(tensor.shape[2]),
                               .boxTokens = boxTokens});
}

}  // namespace wgqa::cuda
