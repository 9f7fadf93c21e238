#include "ops/cuda/attention_float_plan.h"

#include "base/error.h"
#include "ops/cuda/grids.h"

namespace wgqa::cuda {
namespace {

template <int kHeadDim>
FloatAttentionPlan planFor(int variant, std::int64_t headDim) {
  constexpr std::int64_t kRows = kFloatTile<kHeadDim>;
  return {.variant = variant,
          .threads = kFloatThreads<kHeadDim>,
          .tileRows = kRows,
          .headFloats = kRows * (kHeadDim + 1),
          .scoreFloats = kRows * (kRows + 1),
          .parts = divideUp(headDim, kFloatColumns<kHeadDim>)};
}

}  // namespace

FloatAttentionPlan planFloatAttention(std::int64_t headDim) {
  require(headDim <= 256, "float32 attention has heads of at most 256 numbers");
  if (headDim <= 32) return planFor<32>(0, headDim);
  if (headDim <= 64) return planFor<64>(1, headDim);
  if (headDim <= 128) return planFor<128>(2, headDim);
  return planFor<256>(3, headDim);
}

}  // namespace wgqa::cuda
