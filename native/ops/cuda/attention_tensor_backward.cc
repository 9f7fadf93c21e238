#include "ops/cuda/kernels/attention_tensor_backward.h"

#include <algorithm>

#include "ops/cuda/attention_kernels.h"
#include "ops/cuda/attention_tensor_plan.h"
#include "ops/cuda/grids.h"
#include "ops/cuda/head_groups.h"
#include "ops/cuda/kernel_types.h"

namespace wgqa::cuda {
namespace {

void inFloat32(const AttentionPrefillBackward& p, Session& session) {
  Widener widen(2 * p.q.elements() + p.k.elements() + p.v.elements(), session);
  AttentionPrefillBackward wide = p;
  wide.q = widen(p.q);
  wide.k = widen(p.k);
  wide.v = widen(p.v);
  wide.gradOut = widen(p.gradOut);
  attentionPrefillBackwardFloat(wide, session);
}

template <int kHeadDim>
struct Kernels;
template <>
struct Kernels<64> {
  static constexpr auto& kQueries = kQueryGradient64;
  static constexpr auto& kKeys = kKeyGradient64;
};
template <>
struct Kernels<128> {
  static constexpr auto& kQueries = kQueryGradient128;
  static constexpr auto& kKeys = kKeyGradient128;
};

// One call of the backward pass on kernels for heads of at most kHeadDim numbers.
template <int kHeadDim>
class OnTensorCores {
 public:
  OnTensorCores(const AttentionPrefillBackward& p, Session& session)
      : p_(p),
        session_(session),
        heads_(p.q.shape[1]),
        kvHeads_(p.k.shape[1]),
        shape_(attentionShapeArguments(p.shape, p.k.shape[1], p.q.shape[2], session)),
        dropout_(p.shape.dropout.threshold() == 0 ? 0 : 1) {}

  bool fit() const {
    const std::int64_t most = session_.device().properties().sharedBytesPerBlock;
    return std::max(queryBytes(), keyBytes()) <= most;
  }

  void run() {
    const auto queries = queryTiles(p_.shape, QueryTiles::kQueries);
    const auto keys = keyTiles(p_.shape, KeyTiles::kKeys);
    const auto groups = groupHeads(p_.shape.kvHeadOf, kvHeads_);
    AttentionTensorBackwardArguments arguments = prepare(std::ssize(queries));
    arguments.groups = session_.table(std::span<const std::int32_t>(groups));
    arguments.tiles = session_.table(std::span<const SequenceTile>(keys));
    session_.launch(Kernels<kHeadDim>::kKeys[dropout_], {std::ssize(keys) * kvHeads_},
                    {KeyTiles::kThreads, keyBytes()}, arguments);
    arguments.tiles = session_.table(std::span<const SequenceTile>(queries));
    session_.launch(Kernels<kHeadDim>::kQueries[dropout_], {std::ssize(queries) * heads_},
                    {QueryTiles::kThreads, queryBytes()}, arguments);
    if (p_.gradBiasTable.given()) reduceBias(arguments.biasPartials, std::ssize(queries));
  }

 private:
  using QueryTiles = QueryGradientTiles<kHeadDim>;
  using KeyTiles = KeyGradientTiles<kHeadDim>;

  std::int64_t queryBytes() const {
    const std::int64_t distances = p_.gradBiasTable.given() ? biasFloats(shape_.bias) : 0;
    return QueryTiles::sharedBytes(biasWindowFloats(shape_.bias), distances);
  }
  std::int64_t keyBytes() const { return KeyTiles::sharedBytes(biasWindowFloats(shape_.bias)); }

  std::int64_t statisticsRows() const {
    return statisticsStart(static_cast<int>(p_.shape.queries.sequences()),
                           static_cast<int>(p_.shape.queries.tokens()));
  }

  // Computes the statistics, and rounds a float32 gradOut.
  AttentionTensorBackwardArguments prepare(std::int64_t tiles) {
    auto* statistics =
        session_.scratch<QueryStatistics>(Session::Scratch::first, heads_ * statisticsRows());
    const bool isRounded = p_.gradOut.dtype == DType::bfloat16;
    auto* rounded = isRounded ? nullptr
                              : session_.scratch<BFloat16Element>(Session::Scratch::second,
                                                                  p_.gradOut.elements());
    auto* biasPartials =
        p_.gradBiasTable.given()
            ? session_.scratch<float>(Session::Scratch::third, p_.gradBiasTable.elements() * tiles)
            : nullptr;
    computeStatistics(statistics, rounded);
    return {.shape = shape_,
            .tiles = nullptr,
            .groups = nullptr,
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

  void computeStatistics(QueryStatistics* statistics, BFloat16Element* rounded) {
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

  void reduceBias(const float* partials, std::int64_t tiles) {
    session_.launch(
        kBiasGradient, {p_.gradBiasTable.shape[0], heads_}, {kBiasGradientThreads, kReduceBytes},
        {.partials = partials, .gradBiasTable = p_.gradBiasTable.as<float>(), .tiles = tiles});
  }

  const AttentionPrefillBackward& p_;
  Session& session_;
  std::int64_t heads_;
  std::int64_t kvHeads_;
  AttentionShapeArguments shape_;
  int dropout_;
};

template <int kHeadDim>
void runTensor(const AttentionPrefillBackward& p, Session& session) {
  OnTensorCores<kHeadDim> call(p, session);
  if (!call.fit()) return inFloat32(p, session);
  call.run();
}

}  // namespace

void attentionPrefillBackwardTensor(const AttentionPrefillBackward& p, Session& session) {
  const std::int64_t headDim = p.q.shape[2];
  if (!takesTensorCores(p.shape, headDim,
                        {p.q, p.k, p.v, p.out, p.gradOut, p.gradQ, p.gradK, p.gradV})) {
    return inFloat32(p, session);
  }
  if (headDim <= 64) return runTensor<64>(p, session);
  runTensor<128>(p, session);
}

}  // namespace wgqa::cuda
