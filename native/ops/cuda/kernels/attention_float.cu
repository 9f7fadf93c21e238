// Attention over whole sequences in float32 arithmetic: tile by tile, with the softmax brought up
// to date as keys come (Dao et al. 2022, "FlashAttention").
#include "ops/cuda/kernels/attention_float.h"

#include "ops/cuda/kernels/float_tile.h"
#include "ops/cuda/kernels/reduce.h"
#include "ops/cuda/kernels/registry.h"

namespace wgqa::cuda {
namespace {

// Shared memory of the block.
template <int kHeadDim>
struct Shared {
  using Tile = FloatTile<kHeadDim>;
  float* queries;
  float* keys;  // then values
  float* weights;
  float* bias;

  WGQA_DEVICE Shared()
      : queries(dynamicShared<float>()),
        keys(queries + Tile::kFloats),
        weights(keys + Tile::kFloats),
        bias(weights + Tile::kScoreFloats) {}
};

// The running softmax of a thread's four rows.
struct Rows {
  float most[4];
  float total[4];
};

// Scores become exp(score - maximum), with dropout; returns what earlier sums are multiplied by.
template <int kHeadDim>
WGQA_DEVICE void softmax(const AttentionFloatArguments& p, const FloatTilePair& pair, int head,
                         const float (&biases)[4][4], Rows& rows, float (&scores)[4][4],
                         float (&corrections)[4]) {
  constexpr int kSide = FloatTile<kHeadDim>::kSide;
  WGQA_UNROLL
  for (int i = 0; i < 4; ++i) {
    float most = rows.most[i];
    WGQA_UNROLL
    for (int j = 0; j < 4; ++j) most = fmaxf(most, scores[i][j] + biases[i][j]);
    most = warpMax<kSide>(most);
    corrections[i] = rows.most[i] == kMinusInfinity ? 0.0f : expf(rows.most[i] - most);
    float sum = 0.0f;
    WGQA_UNROLL
    for (int j = 0; j < 4; ++j) {
      const bool isSeen = scores[i][j] != kMinusInfinity;
      scores[i][j] = isSeen ? expf((scores[i][j] - most) + biases[i][j]) : 0.0f;
      sum += scores[i][j];
    }
    rows.most[i] = most;
    rows.total[i] = rows.total[i] * corrections[i] + warpSum<kSide>(sum);
    float factors[4];
    dropoutFactors<kHeadDim>(p.shape, pair, head, i, factors);
    WGQA_UNROLL
    for (int j = 0; j < 4; ++j) scores[i][j] *= factors[j];
  }
}

template <int kHeadDim>
WGQA_KERNEL void WGQA_BOUNDS(kFloatThreads<kHeadDim>, 1) attentionFloat(AttentionFloatArguments p) {
  using Tile = FloatTile<kHeadDim>;
  const AttentionShapeArguments& shape = p.shape;
  const SequenceTile tile = p.tiles[blockX()];
  const int head = blockY();
  const int kvHead = shape.kvHeadOf[head];
  const int firstColumn = blockZ() * kFloatColumns<kHeadDim>;
  const FloatSequence sequence(shape, tile.sequence);
  FloatTilePair pair{fewer(sequence.queries - tile.first, Tile::kRows),
                     sequence.firstPosition + tile.first,
                     0,
                     0,
                     sequence.queryToken + tile.first,
                     sequence.keys};
  const Shared<kHeadDim> shared;
  const std::int64_t queryStride = std::int64_t{shape.heads} * shape.headDim;
  const std::int64_t keyStride = std::int64_t{shape.kvHeads} * shape.headDim;
  loadBias(shape.bias, head, shared.bias);
  const std::int64_t query = pair.queryToken * queryStride + std::int64_t{head} * shape.headDim;
  loadFloatTile<kHeadDim>(p.q + query, queryStride, shape.headDim, pair.queries, shared.queries);
  Rows rows;
  float sums[4][Tile::kSums];
  WGQA_UNROLL
  for (int i = 0; i < 4; ++i) {
    rows.most[i] = kMinusInfinity;
    rows.total[i] = 0.0f;
    WGQA_UNROLL
    for (int j = 0; j < Tile::kSums; ++j) sums[i][j] = 0.0f;
  }
  const int seen =
      shape.causal ? fewer(sequence.keys, pair.position + pair.queries) : sequence.keys;
  for (pair.firstKey = 0; pair.firstKey < seen; pair.firstKey += Tile::kRows) {
    pair.keys = fewer(sequence.keys - pair.firstKey, Tile::kRows);
    const std::int64_t at =
        (sequence.keyToken + pair.firstKey) * keyStride + std::int64_t{kvHead} * shape.headDim;
    loadFloatTile<kHeadDim>(p.k + at, keyStride, shape.headDim, pair.keys, shared.keys);
    blockBarrier();
    float scores[4][4];
    float biases[4][4];
    float corrections[4];
    multiplyFloatRows<kHeadDim>(shared.queries, shared.keys, scores);
    finishFloatScores<kHeadDim>(shape, pair, shared.bias, scores, biases);
    softmax<kHeadDim>(p, pair, head, biases, rows, scores, corrections);
    storeFloatScores<kHeadDim>(scores, shared.weights);
    WGQA_UNROLL
    for (int i = 0; i < 4; ++i) {
      WGQA_UNROLL
      for (int j = 0; j < Tile::kSums; ++j) sums[i][j] *= corrections[i];
    }
    blockBarrier();
    loadFloatTile<kHeadDim>(p.v + at, keyStride, shape.headDim, pair.keys, shared.keys);
    blockBarrier();
    addFloatProduct<kHeadDim, false>(shared.weights, shared.keys, firstColumn, sums);
    blockBarrier();
  }
  float factors[4];
  WGQA_UNROLL
  for (int i = 0; i < 4; ++i) {
    const int row = 4 * Tile::y() + i;
    factors[i] = rows.total[i] > 0.0f ? 1.0f / rows.total[i] : 0.0f;
    if (p.logSumExp == nullptr || Tile::x() != 0 || blockZ() != 0 || row >= pair.queries) continue;
    p.logSumExp[(pair.queryToken + row) * shape.heads + head] =
        rows.total[i] > 0.0f ? rows.most[i] + logf(rows.total[i]) : kMinusInfinity;
  }
  storeFloatSums<kHeadDim>(sums, factors, firstColumn, shape.headDim, pair.queries, queryStride,
                           p.outType, p.out, query);
}

}  // namespace

std::vector<KernelEntry> attentionFloatKernels() {
  return {kernelEntry<attentionFloat<32>>(kAttentionFloat[0]),
          kernelEntry<attentionFloat<64>>(kAttentionFloat[1]),
          kernelEntry<attentionFloat<128>>(kAttentionFloat[2]),
          kernelEntry<attentionFloat<256>>(kAttentionFloat[3])};
}

}  // namespace wgqa::cuda
