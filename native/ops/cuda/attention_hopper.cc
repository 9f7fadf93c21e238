#include "ops/cuda/kernels/attention_hopper.h"

#include "ops/cuda/attention_hopper_plan.h"
#include "ops/cuda/attention_kernels.h"
#include "ops/cuda/attention_tensor_plan.h"

namespace wgqa::cuda {
namespace {

template <int kHeadDim, bool kDropout>
void attend(const AttentionPrefill& p, AttentionHopperKernel kernel, Session& session) {
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
  const bool isFloat16 = p.q.dtype == DType::float16;
  if (p.shape.dropout.threshold() == 0) {
    if (isNarrow) {
      return attend<64, false>(p, isFloat16 ? kAttentionHopperFloat16Of64 : kAttentionHopper64,
                               session);
    }
    return attend<128, false>(p, isFloat16 ? kAttentionHopperFloat16Of128 : kAttentionHopper128,
                              session);
  }
  if (isNarrow) return attend<64, true>(p, kAttentionHopperDropout64, session);
  attend<128, true>(p, kAttentionHopperDropout128, session);
}

}  // namespace wgqa::cuda
