#include "ops/cuda/kernels/attention_float.h"

#include "ops/cuda/attention_float_plan.h"
#include "ops/cuda/attention_kernels.h"
#include "ops/cuda/attention_shape.h"
#include "ops/cuda/grids.h"
#include "ops/cuda/head_groups.h"
#include "ops/cuda/kernel_types.h"
#include "ops/cuda/operations.h"

namespace wgqa::cuda {
namespace {

constexpr int kDeltaThreads = 128;

const float* makeDeltas(const AttentionPrefillBackward& p, Session& session) {
  const std::int64_t rows = p.q.shape[0] * p.q.shape[1];
  auto* deltas = session.scratch<float>(Session::Scratch::first, rows);
  session.launch(kAttentionDeltas[computeIndex(p.out.dtype)],
                 {divideUp(rows, kDeltaThreads / kWarpThreadCount)}, {kDeltaThreads},
                 {.gradOut = p.gradOut.as<float>(),
                  .out = p.out.data,
                  .deltas = deltas,
                  .rows = rows,
                  .headDim = static_cast<std::int32_t>(p.q.shape[2])});
  return deltas;
}

}  // namespace

void attentionPrefillBackwardFloat(const AttentionPrefillBackward& p, Session& session) {
  const std::int64_t heads = p.q.shape[1];
  const std::int64_t headDim = p.q.shape[2];
  const std::int64_t kvHeads = p.k.shape[1];
  const FloatAttentionPlan plan = planFloatAttention(headDim);
  const auto queryTiles = sequenceTiles(p.shape.queries, plan.tileRows);
  const auto keyTiles = sequenceTiles(p.shape.keys, plan.tileRows);
  const auto firstHeads = groupHeads(p.shape.kvHeadOf, kvHeads);
  const AttentionShapeArguments shape = attentionShapeArguments(p.shape, kvHeads, headDim, session);
  const std::int64_t biasElements = shape.bias.table == nullptr ? 0 : p.gradBiasTable.elements();
  auto* biasPartials =
      session.scratch<float>(Session::Scratch::second, std::ssize(queryTiles) * biasElements);
  AttentionFloatBackwardArguments arguments{
      .shape = shape,
      .tiles = session.table(std::span<const SequenceTile>(queryTiles)),
      .q = p.q.as<float>(),
      .k = p.k.as<float>(),
      .v = p.v.as<float>(),
      .logSumExp = p.logSumExp.as<float>(),
      .gradOut = p.gradOut.as<float>(),
      .deltas = makeDeltas(p, session),
      .gradQ = p.gradQ.data,
      .gradK = p.gradK.data,
      .gradV = p.gradV.data,
      .biasPartials = biasPartials,
      .groupHeads = session.table(std::span<const std::int32_t>(firstHeads)),
      .gradType = floatType(p.gradQ.dtype)};
  // The bias by distance, its gradient, and the sums of diagonals.
  const std::int64_t sharedBytes = plan.sharedBytes(4, 2, shape.bias) +
                                   plan.sharedBytes(0, 0, shape.bias) +
                                   2 * plan.tileRows * static_cast<std::int64_t>(sizeof(float));
  session.launch(kAttentionFloatQueryGradient[plan.variant],
                 {std::ssize(queryTiles), heads, plan.parts}, {plan.threads, sharedBytes},
                 arguments);
  if (biasElements > 0) {
    sumSlices(biasPartials, std::ssize(queryTiles), biasElements, p.gradBiasTable.as<float>(),
              session);
  }
  arguments.tiles = session.table(std::span<const SequenceTile>(keyTiles));
  session.launch(kAttentionFloatKeyGradient[plan.variant],
                 {std::ssize(keyTiles), kvHeads, plan.parts}, {plan.threads, sharedBytes},
                 arguments);
}

}  // namespace wgqa::cuda
