// Which problems attention's kernels for compute capability 9.0 take, and what their copy engine is
// told of tensors.
#pragma once

#include "ops/cuda/session.h"
#include "ops/ops.h"

namespace wgqa::cuda {

/// What the tensor cores' other kernels take (takesTensorCores()), on a device that has Hopper's
/// instructions: no later generation has them either.
bool takesHopper(const AttentionPrefill& p, const DeviceProperties& device);
/// Of bfloat16, and heads of at most 64 numbers: for larger ones there are not registers for both
/// gradients.
bool takesHopper(const AttentionPrefillBackward& p, const DeviceProperties& device);

/// A dense tensor of [tokens, heads, headDim] bfloat16 numbers, not empty, copied by so many
/// tokens.
TensorMap mapBoxes(const ConstTensorView& tensor, std::int32_t boxTokens, Session& session);

}  // namespace wgqa::cuda
