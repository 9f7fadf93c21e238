#include "ops/cuda/kernels/attention_tensor_backward.h"

#include <algorithm>

#include "ops/cuda/attention_backward_call.h"
#include "ops/cuda/attention_kernels.h"
#include "ops/cuda/attention_tensor_plan.h"

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
class OnTensorCores : BackwardCall {
 public:
  using BackwardCall::BackwardCall;

  bool fit() const {
    const std::int64_t most = session_.device().properties().sharedBytesPerBlock;
    return std::max(queryBytes(), keyBytes()) <= most;
  }

  void run() {
    const auto queries = queryTiles(p_.shape, QueryTiles::kQueries);
    const auto keys = keyTiles(p_.shape, KeyTiles::kKeys);
    AttentionTensorBackwardArguments arguments = prepare(std::ssize(queries));
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
    return QueryTiles::sharedBytes(biasWindowFloats(shape_.bias), distances());
  }
  std::int64_t keyBytes() const { return KeyTiles::sharedBytes(biasWindowFloats(shape_.bias)); }
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
