// Attention over whole sequences on tensor cores, after FlashAttention-2 (Dao 2023,
// arXiv 2307.08691): a block holds its queries and walks over the keys, softmax kept up to date as
// it goes; scores and probabilities never leave the registers.
#include "ops/cuda/kernels/attention_tensor.h"

#include "ops/cuda/kernels/attention_softmax.h"
#include "ops/cuda/kernels/registry.h"

namespace wgqa::cuda {
namespace {

template <int kHeadDim, bool kDropout, typename T, typename Tiles = AttentionTensorTiles<kHeadDim>>
WGQA_DEVICE void attendKeys(const AttentionTensorArguments<T>& p, const WarpQueries& warp,
                            int firstKey, const unsigned char* shared,
                            SoftmaxRows<2 * Tiles::kRowTiles>& rows,
                            float (&out)[Tiles::kRowTiles][kHeadDim / 8][4]) {
  const int place = firstKey % (Tiles::kKeys * Tiles::kStages) * TileLayout<kHeadDim>::kRowBytes;
  float scores[Tiles::kRowTiles][Tiles::kStepKeys / 8][4] = {};
  multiplyRows<kHeadDim, T>({shared, warp.row * TileLayout<kHeadDim>::kRowBytes},
                            {shared + Tiles::kKeysAt, place}, scores);
  const auto* window = reinterpret_cast<const float*>(shared + Tiles::kBiasAt);
  const ScoreTerms terms =
      addBias<true>(p.shape.bias, window, p.shape.scale * kLog2E, firstKey - warp.position, scores);
  maskKeys(p.shape.causal, warp.position, firstKey, warp.keys, scores);
  float largest[2 * Tiles::kRowTiles];
  largestOfLane(scores, largest);
  for (float& each : largest) each = fusedMultiplyAdd(each, terms.factor, terms.offset);
  largestOfRows(largest);
  float ratios[2 * Tiles::kRowTiles];
  if (raiseReferences(largest, rows, ratios)) scaleRows(ratios, out);
  exponentiate(terms, rows, scores);
  if constexpr (kDropout) {
    const std::uint32_t kept = keptOfKeyColumns<Tiles::kRowTiles, Tiles::kStepKeys / 8>(
        p.shape.dropout, warp.dropoutRow, p.shape.heads, firstKey);
    applyKept(kept, 1.0f, scores);
  }
  multiplyFragment<kHeadDim, T>(scores, {shared + Tiles::kValuesAt, place}, out);
}

// The next keys are under way while the block works on those before: one barrier for each tile.
template <int kHeadDim, bool kDropout, typename T>
WGQA_KERNEL void WGQA_BOUNDS(AttentionTensorTiles<kHeadDim>::kThreads, kHeadDim == 64 ? 3 : 2)
    attentionTensor(AttentionTensorArguments<T> p) {
  using Tiles = AttentionTensorTiles<kHeadDim>;
  auto* shared = dynamicShared<unsigned char>();
  const QueryTile tile = blockTile(p);
  const WarpQueries warp =
      warpQueries<Tiles::kWarpQueries>(p.shape, tile, warpIndex() * Tiles::kWarpQueries);
  const int seenByBlock = keysSeen(p.shape, tile, 0, Tiles::kQueries);

  copyTile<Tiles::kQueries, kHeadDim, Tiles::kThreads>(shared, queryRows(p.shape, tile, p.q));
  if (seenByBlock > 0) copyKeys<Tiles, kHeadDim>(p, tile, 0, shared);
  commitCopies();
  loadBiasWindow(p.shape.bias, tile.head, reinterpret_cast<float*>(shared + Tiles::kBiasAt));

  float out[Tiles::kRowTiles][kHeadDim / 8][4] = {};
  SoftmaxRows<2 * Tiles::kRowTiles> rows;
  clear(rows);
  for (int firstKey = 0; firstKey < seenByBlock; firstKey += Tiles::kStepKeys) {
    if (firstKey % Tiles::kKeys == 0) {
      waitForCopies<0>();
      blockBarrier();
      const int next = firstKey + Tiles::kKeys;
      if (next < seenByBlock) copyKeys<Tiles, kHeadDim>(p, tile, next, shared);
      commitCopies();
    }
    if (firstKey < warp.seen) {
      attendKeys<kHeadDim, kDropout>(p, warp, firstKey, shared, rows, out);
    }
  }
  waitForCopies<0>();
  storeAttended<T>(p, blockTile(p), warp.row, rows, out);
}

}  // namespace

std::vector<KernelEntry> attentionTensorKernels() {
  using BFloat16 = BFloat16Element;
  using Float16 = Float16Element;
  return {kernelEntry<attentionTensor<64, false, BFloat16>>(kAttentionTensor64),
          kernelEntry<attentionTensor<128, false, BFloat16>>(kAttentionTensor128),
          kernelEntry<attentionTensor<64, true, BFloat16>>(kAttentionTensorDropout64),
          kernelEntry<attentionTensor<128, true, BFloat16>>(kAttentionTensorDropout128),
          kernelEntry<attentionTensor<64, false, Float16>>(kAttentionTensorFloat16Of64),
          kernelEntry<attentionTensor<128, false, Float16>>(kAttentionTensorFloat16Of128)};
}

}  // namespace wgqa::cuda
