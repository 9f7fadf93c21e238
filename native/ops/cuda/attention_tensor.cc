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

// Without dropout, and with it where there is such a kernel.
template <int kHeadDim, typename T>
struct Variants;
template <>
struct Variants<64, BFloat16Element> {
  static constexpr AttentionTensorKernel<BFloat16Element> kKernels[] = {kAttentionTensor64,
                                                                        kAttentionTensorDropout64};
};
template <>
struct Variants<128, BFloat16Element> {
  static constexpr AttentionTensorKernel<BFloat16Element> kKernels[] = {kAttentionTensor128,
                                                                        kAttentionTensorDropout128};
};
template <>
struct Variants<64, Float16Element> {
  static constexpr AttentionTensorKernel<Float16Element> kKernels[] = {kAttentionTensorFloat16Of64};
};
template <>
struct Variants<128, Float16Element> {
  static constexpr AttentionTensorKernel<Float16Element> kKernels[] = {
      kAttentionTensorFloat16Of128};
};

template <int kHeadDim, typename T>
void onTensorCores(const AttentionPrefill& p, Session& session) {
  using Tiles = AttentionTensorTiles<kHeadDim>;
  const AttentionShapeArguments shape =
      attentionShapeArguments(p.shape, p.k.shape[1], p.q.shape[2], session);
  const std::int64_t sharedBytes = Tiles::sharedBytes(biasWindowFloats(shape.bias));
  constexpr auto& kKernels = Variants<kHeadDim, T>::kKernels;
  const std::size_t variant = p.shape.dropout.threshold() == 0 ? 0 : 1;
  if (variant >= std::size(kKernels) ||
      sharedBytes > session.device().properties().sharedBytesPerBlock) {
    return inFloat32(p, session);
  }
  const auto tiles = queryTiles(p.shape, Tiles::kQueries);
  session.launch(kKernels[variant], {std::ssize(tiles) * p.q.shape[1]},
                 {Tiles::kThreads, sharedBytes},
                 {.shape = shape,
                  .tiles = session.table(std::span<const SequenceTile>(tiles)),
                  .q = p.q.as<T>(),
                  .k = p.k.as<T>(),
                  .v = p.v.as<T>(),
                  .out = p.out.data,
                  .logSumExp = p.logSumExp.as<float>(),
                  .outIsFloat32 = p.out.dtype == DType::float32});
}

template <typename T>
void onTensorCoresOf(const AttentionPrefill& p, Session& session) {
  if (p.q.shape[2] <= 64) return onTensorCores<64, T>(p, session);
  onTensorCores<128, T>(p, session);
}

}  // namespace

void attentionPrefillTensor(const AttentionPrefill& p, Session& session) {
  const bool canStore = p.out.dtype == DType::float32 || p.out.dtype == p.q.dtype;
  if (!canStore || !takesTensorCores(p.shape, p.q.shape[2], {p.q, p.k, p.v, p.out})) {
    return inFloat32(p, session);
  }
  if (p.q.dtype == DType::float16) return onTensorCoresOf<Float16Element>(p, session);
  onTensorCoresOf<BFloat16Element>(p, session);
}

}  // namespace wgqa::cuda
