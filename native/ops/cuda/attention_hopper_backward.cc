#include "ops/cuda/kernels/attention_hopper_backward.h"

#include "ops/cuda/attention_backward_call.h"
#include "ops/cuda/attention_hopper_plan.h"
#include "ops/cuda/attention_kernels.h"
#include "ops/cuda/attention_tensor_plan.h"

namespace wgqa::cuda {
namespace {

class OnHopper : BackwardCall {
 public:
  using BackwardCall::BackwardCall;

  void run() {
    const auto queries = queryTiles(p_.shape, QueryTiles::kRows);
    const auto keys = keyTiles(p_.shape, KeyTiles::kRows);
    const std::int64_t partials = std::ssize(queries) * QueryTiles::kMultipliers;
    AttentionHopperBackwardArguments arguments{prepare(partials), {}, {}, {}, {}};
    const std::int64_t biasFloats = biasWindowFloats(shape_.bias);
    mapTensors(arguments, KeyTiles::kQueries, KeyTiles::kRows);
    arguments.tiles = session_.table(std::span<const SequenceTile>(keys));
    session_.launch(kHopperKeyGradient[dropout_], {std::ssize(keys) * kvHeads_},
                    {KeyTiles::kThreads, KeyTiles::sharedBytes(biasFloats)}, arguments);
    mapTensors(arguments, QueryTiles::kRows, QueryTiles::kKeys);
    arguments.tiles = session_.table(std::span<const SequenceTile>(queries));
    session_.launch(kHopperQueryGradient[dropout_], {std::ssize(queries) * heads_},
                    {QueryTiles::kThreads, QueryTiles::sharedBytes(biasFloats, distances())},
                    arguments);
    if (p_.gradBiasTable.given()) reduceBias(arguments.biasPartials, partials);
  }

 private:
  using QueryTiles = HopperQueryGradientTiles;
  using KeyTiles = HopperKeyGradientTiles;

  // Boxes of so many queries and keys. gradOut is of q's shape, in memory of its own if rounded.
  void mapTensors(AttentionHopperBackwardArguments& arguments, int queries, int keys) {
    ConstTensorView gradOut = p_.q;
    gradOut.data = arguments.gradOut;
    arguments.qRows = mapBoxes(p_.q, queries, session_);
    arguments.gradOutRows = mapBoxes(gradOut, queries, session_);
    arguments.kRows = mapBoxes(p_.k, keys, session_);
    arguments.vRows = mapBoxes(p_.v, keys, session_);
  }
};

}  // namespace

void attentionPrefillBackwardHopper(const AttentionPrefillBackward& p, Session& session) {
  OnHopper(p, session).run();
}

}  // namespace wgqa::cuda
