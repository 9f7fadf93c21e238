#include "ops/cuda/kernels/attention_hopper.h"

#include "ops/cuda/attention_hopper_plan.h"
#include "ops/cuda/attention_kernels.h"
#include "ops/cuda/attention_tensor_plan.h"

namespace wgqa::cuda {
namespace {

template <int kHeadDim, bool kDropout>
void attend(const AttentionPrefill& p, Kernel<AttentionHopperArguments> kernel, Session& session) {
  using Tiles = AttentionHopperTiles<kHeadDim, kDropout>;
  const AttentionShapeArguments shape =
      attentionShapeArguments(p.shape, p.k.shape[1], p.q.shape[2], session);
  const std::int64_t sharedBytes = Tiles::sharedBytes(biasWindowFloats(shape.bias));
  const auto tiles = queryTiles(p.shape, Tiles::kQueries);
  session.launch(kernel, {std::ssize(tiles) * p.q.shape[1]}, {Tiles::kThreads, sharedBytes},
                 {.q = mapBoxes(p.q, Tiles::kQueries, session),
                  .k = mapBoxes(p.k, Tiles::kKeys, session),
                  .v = mapBoxes(p.v, Tiles::kKeys, session),
                  .shape = shape,
                  .tiles = session.table(std::span<const SequenceTile>(tiles)),
                  .out = p.out.data,
                  .logSumExp = p.logSumExp.as<float>(),
                  .outIsFloat32 = p.out.dtype == DType::float32});
}

}  // namespace

void attentionPrefillHopper(const AttentionPrefill& p, Session& session) {
  const bool isNarrow = p.q.shape[2] <= 64;
  if (p.shape.dropout.threshold() == 0) {
    if (isNarrow) return attend<64, false>(p, kAttentionHopper64[0], session);
    return attend<128, false>(p, kAttentionHopper128[0], session);
  }
  if (isNarrow) return attend<64, true>(p, kAttentionHopper64[1], session);
  attend<128, true>(p, kAttentionHopper128[1], session);
}

}  // namespace wgqa::cuda
