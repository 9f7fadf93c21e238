#include "ops/cuda/kernels/attention_tensor.h"

#include "ops/cuda/attention_kernels.h"
#include "ops/cuda/attention_tensor_plan.h"

namespace wgqa::cuda {
namespace {

void inFloat32(const AttentionPrefill& p, Session& session) {
  Widener widen(p.q.elements() + p.k.elements() + p.v.elements(), session);
  AttentionPrefill wide = p;
  wide.q = widen(p.q);
  wide.k = widen(p.k);
  wide.v = widen(p.v);
  attentionPrefillFloat(wide, session);
}

template <int kHeadDim>
struct Variants;
template <>
struct Variants<64> {
  static constexpr auto kPlain = kAttentionTensor64;
  static constexpr auto kDropout = kAttentionTensorDropout64;
};
template <>
struct Variants<128> {
  static constexpr auto kPlain = kAttentionTensor128;
  static constexpr auto kDropout = kAttentionTensorDropout128;
};

template <int kHeadDim>
void onTensorCores(const AttentionPrefill& p, Session& session) {
  using Tiles = AttentionTensorTiles<kHeadDim>;
  const AttentionShapeArguments shape =
      attentionShapeArguments(p.shape, p.k.shape[1], p.q.shape[2], session);
  const std::int64_t sharedBytes = Tiles::sharedBytes(biasWindowFloats(shape.bias));
  if (sharedBytes > session.device().properties().sharedBytesPerBlock) {
    return inFloat32(p, session);
  }
  const auto tiles = queryTiles(p.shape, Tiles::kQueries);
  const auto kernel =
      p.shape.dropout.threshold() == 0 ? Variants<kHeadDim>::kPlain : Variants<kHeadDim>::kDropout;
  session.launch(kernel, {std::ssize(tiles) * p.q.shape[1]}, {Tiles::kThreads, sharedBytes},
                 {.shape = shape,
                  .tiles = session.table(std::span<const SequenceTile>(tiles)),
                  .q = p.q.as<BFloat16Element>(),
                  .k = p.k.as<BFloat16Element>(),
                  .v = p.v.as<BFloat16Element>(),
                  .out = p.out.data,
                  .logSumExp = p.logSumExp.as<float>(),
                  .outIsFloat32 = p.out.dtype == DType::float32});
}

}  // namespace

void attentionPrefillTensor(const AttentionPrefill& p, Session& session) {
  const std::int64_t headDim = p.q.shape[2];
  if (!takesTensorCores(p.shape, headDim, {p.q, p.k, p.v, p.out})) return inFloat32(p, session);
  if (headDim <= 64) return onTensorCores<64>(p, session);
  onTensorCores<128>(p, session);
}

}  // namespace wgqa::cuda
