#include "ops/cuda/kernels/attention_float.h"

#include "ops/cuda/attention_float_plan.h"
#include "ops/cuda/attention_kernels.h"
#include "ops/cuda/attention_shape.h"
#include "ops/cuda/kernel_types.h"

namespace wgqa::cuda {

void attentionPrefillFloat(const AttentionPrefill& p, Session& session) {
  const std::int64_t heads = p.q.shape[1];
  const std::int64_t headDim = p.q.shape[2];
  const FloatAttentionPlan plan = planFloatAttention(headDim);
  const auto tiles = sequenceTiles(p.shape.queries, plan.tileRows);
  const AttentionShapeArguments shape =
      attentionShapeArguments(p.shape, p.k.shape[1], headDim, session);
  session.launch(kAttentionFloat[plan.variant], {std::ssize(tiles), heads, plan.parts},
                 {plan.threads, plan.sharedBytes(2, 1, shape.bias)},
                 {.shape = shape,
                  .tiles = session.table(std::span<const SequenceTile>(tiles)),
                  .q = p.q.as<float>(),
                  .k = p.k.as<float>(),
                  .v = p.v.as<float>(),
                  .out = p.out.data,
                  .logSumExp = p.logSumExp.as<float>(),
                  .outType = floatType(p.out.dtype)});
}

}  // namespace wgqa::cuda
