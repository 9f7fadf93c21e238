#include "ops/cuda/attention_backward_call.h"

#include "ops/cuda/attention_shape.h"
#include "ops/cuda/grids.h"
#include "ops/cuda/head_groups.h"
#include "ops/cuda/kernel_types.h"

namespace wgqa::cuda {

BackwardCall::BackwardCall(const AttentionPrefillBackward& p, Session& session)
    : p_(p),
      session_(session),
      heads_(p.q.shape[1]),
      kvHeads_(p.k.shape[1]),
      shape_(attentionShapeArguments(p.shape, p.k.shape[1], p.q.shape[2], session)),
      dropout_(p.shape.dropout.threshold() == 0 ? 0 : 1) {}

std::int64_t BackwardCall::statisticsRows() const {
  return statisticsStart(static_cast<int>(p_.shape.queries.sequences()),
                         static_cast<int>(p_.shape.queries.tokens()));
}

AttentionTensorBackwardArguments BackwardCall::prepare(std::int64_t partials) {
  auto* statistics =
      session_.scratch<QueryStatistics>(Session::Scratch::first, heads_ * statisticsRows());
  const bool isRounded = p_.gradOut.dtype == DType::bfloat16;
  auto* rounded = isRounded ? nullptr
                            : session_.scratch<BFloat16Element>(Session::Scratch::second,
                                                                p_.gradOut.elements());
  auto* biasPartials =
      p_.gradBiasTable.given()
          ? session_.scratch<float>(Session::Scratch::third, p_.gradBiasTable.elements() * partials)
          : nullptr;
  computeStatistics(statistics, rounded);
  const auto groups = groupHeads(p_.shape.kvHeadOf, kvHeads_);
  return {.shape = shape_,
          .tiles = nullptr,
          .groups = session_.table(std::span<const std::int32_t>(groups)),
          .q = p_.q.as<BFloat16Element>(),
          .k = p_.k.as<BFloat16Element>(),
          .v = p_.v.as<BFloat16Element>(),
          .gradOut = isRounded ? p_.gradOut.as<BFloat16Element>() : rounded,
          .statistics = statistics,
          .statisticsRows = statisticsRows(),
          .gradQ = p_.gradQ.data,
          .gradK = p_.gradK.data,
          .gradV = p_.gradV.data,
          .biasPartials = biasPartials,
          .gradsAreFloat32 = p_.gradQ.dtype == DType::float32};
}

void BackwardCall::computeStatistics(QueryStatistics* statistics, BFloat16Element* rounded) {
  const auto tiles = sequenceTiles(p_.shape.queries, StatisticsTiles::kRows);
  session_.launch(kQueryStatistics[computeIndex(p_.gradOut.dtype)][computeIndex(p_.out.dtype)],
                  {std::ssize(tiles) * heads_}, {StatisticsTiles::kThreads},
                  {.shape = shape_,
                   .tiles = session_.table(std::span<const SequenceTile>(tiles)),
                   .gradOut = p_.gradOut.data,
                   .out = p_.out.data,
                   .logSumExp = p_.logSumExp.as<float>(),
                   .roundedGradOut = rounded,
                   .statistics = statistics,
                   .statisticsRows = statisticsRows()});
}

void BackwardCall::reduceBias(const float* biasPartials, std::int64_t partials) {
  session_.launch(
      kBiasGradient, {p_.gradBiasTable.shape[0], heads_}, {kBiasGradientThreads, kReduceBytes},
      {.partials = biasPartials, .gradBiasTable = p_.gradBiasTable.as<float>(), .tiles = partials});
}

}  // namespace wgqa::cuda
