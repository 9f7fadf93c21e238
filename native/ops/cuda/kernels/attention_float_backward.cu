// The gradients of attention over whole sequences in float32 arithmetic (Dao et al. 2022,
// "FlashAttention", algorithm 4): one kernel goes over the keys of its queries, one over the
// queries of its keys, so that each sum has one order.
#include "ops/cuda/kernels/attention_float.h"
#include "ops/cuda/kernels/float_tile.h"
#include "ops/cuda/kernels/reduce.h"
#include "ops/cuda/kernels/registry.h"

namespace wgqa::cuda {
namespace {

template <typename Out>
WGQA_KERNEL void WGQA_BOUNDS(128, 8) attentionDeltas(AttentionDeltasArguments p) {
  const std::int64_t row = std::int64_t{blockX()} * (blockThreads() / kWarpThreads) + warpIndex();
  if (row >= p.rows) return;
  const float* grad = p.gradOut + row * p.headDim;
  const Out* out = static_cast<const Out*>(p.out) + row * p.headDim;
  float sum = 0.0f;
  for (int i = laneIndex(); i < p.headDim; i += kWarpThreads) sum += grad[i] * widen(out[i]);
  sum = warpSum(sum);
  if (laneIndex() == 0) p.deltas[row] = sum;
}

// Shared memory of the block: queries, keys, values and output gradients, two tiles of scores, the
// bias by distance.
template <int kHeadDim>
struct Shared {
  using Tile = FloatTile<kHeadDim>;
  float* queries;
  float* keys;
  float* values;
  float* gradOut;
  float* weights;
  float* gradScores;
  float* bias;
  float* gradBias;
  float* diagonals;  // [2 kRows]

  WGQA_DEVICE explicit Shared(int biasFloats)
      : queries(dynamicShared<float>()),
        keys(queries + Tile::kFloats),
        values(keys + Tile::kFloats),
        gradOut(values + Tile::kFloats),
        weights(gradOut + Tile::kFloats),
        gradScores(weights + Tile::kScoreFloats),
        bias(gradScores + Tile::kScoreFloats),
        gradBias(bias + biasFloats),
        diagonals(gradBias + biasFloats) {}
};

// For a pair of tiles that lie in shared memory: the weights after dropout and the gradients of the
// scores, into shared memory.
template <int kHeadDim>
WGQA_DEVICE void writeGradScores(const AttentionFloatBackwardArguments& p,
                                 const FloatTilePair& pair, int head,
                                 const Shared<kHeadDim>& shared) {
  using Tile = FloatTile<kHeadDim>;
  float weights[4][4];
  float biases[4][4];
  float grads[4][4];
  multiplyFloatRows<kHeadDim>(shared.queries, shared.keys, weights);
  finishFloatScores<kHeadDim>(p.shape, pair, shared.bias, weights, biases);
  multiplyFloatRows<kHeadDim>(shared.gradOut, shared.values, grads);
  WGQA_UNROLL
  for (int i = 0; i < 4; ++i) {
    const int row = 4 * Tile::y() + i;
    const bool isRow = row < pair.queries;
    const std::int64_t at = (pair.queryToken + (isRow ? row : 0)) * p.shape.heads + head;
    const float logSumExp = p.logSumExp[at];
    const float delta = p.deltas[at];
    float factors[4];
    dropoutFactors<kHeadDim>(p.shape, pair, head, i, factors);
    WGQA_UNROLL
    for (int j = 0; j < 4; ++j) {
      const bool isSeen = isRow && weights[i][j] != kMinusInfinity;
      // The softmax over a single key is constant; rounding would leave a residue of the gradient.
      const bool varies = isSeen && keysSeen(p.shape, pair, row) > 1;
      const float weight = isSeen ? expf((weights[i][j] - logSumExp) + biases[i][j]) : 0.0f;
      grads[i][j] = varies ? weight * (grads[i][j] * factors[j] - delta) : 0.0f;
      weights[i][j] = weight * factors[j];
    }
  }
  storeFloatScores<kHeadDim>(weights, shared.weights);
  storeFloatScores<kHeadDim>(grads, shared.gradScores);
}

// Adds the gradients of a pair's scores to those of the bias, by distance: a thread per diagonal,
// then one for all that are beyond the reach to either side.
template <int kHeadDim>
WGQA_DEVICE void addBiasGradient(const AttentionFloatBackwardArguments& p,
                                 const FloatTilePair& pair, const Shared<kHeadDim>& shared) {
  using Tile = FloatTile<kHeadDim>;
  constexpr int kRows = Tile::kRows;
  const int reach = p.shape.bias.reach;
  const int first = pair.firstKey - pair.position - (kRows - 1);  // distance of diagonal 0
  for (int diagonal = threadIndex(); diagonal < 2 * kRows - 1; diagonal += Tile::kThreads) {
    float sum = 0.0f;
    for (int row = 0; row < kRows; ++row) {
      const int column = row + diagonal - (kRows - 1);
      if (column >= 0 && column < kRows) {
        sum += shared.gradScores[row * Tile::kScoreStride + column];
      }
    }
    const int distance = first + diagonal;
    if (distance > -reach && distance < reach) {
      shared.gradBias[distance + reach] += sum;
    } else {
      shared.diagonals[diagonal] = sum;
    }
  }
  blockBarrier();
  if (threadIndex() > 1) return;
  const bool isFar = threadIndex() == 1;  // to the right
  float sum = 0.0f;
  for (int diagonal = 0; diagonal < 2 * kRows - 1; ++diagonal) {
    const int distance = first + diagonal;
    // With no reach at all both ends are one place.
    const bool isOwn = isFar ? distance >= reach && reach > 0 : distance <= -reach || reach == 0;
    if (isOwn) sum += shared.diagonals[diagonal];
  }
  shared.gradBias[isFar ? 2 * reach : 0] += isFar && reach == 0 ? 0.0f : sum;
}

// The block's share of the gradient of the bias table, by bucket.
template <int kHeadDim>
WGQA_DEVICE void writeBiasPartial(const AttentionFloatBackwardArguments& p, int head,
                                  const Shared<kHeadDim>& shared) {
  const RelativeBiasArguments& bias = p.shape.bias;
  for (int bucket = threadIndex(); bucket < bias.bucketCount; bucket += blockThreads()) {
    float sum = 0.0f;
    for (int place = 0; place < biasFloats(bias); ++place) {
      if (bias.buckets[place] == bucket) sum += shared.gradBias[place];
    }
    p.biasPartials[(std::int64_t{blockX()} * bias.bucketCount + bucket) * bias.heads + head] = sum;
  }
}

template <int kHeadDim>
WGQA_KERNEL void WGQA_BOUNDS(kFloatThreads<kHeadDim>, 1)
    attentionFloatQueryGradient(AttentionFloatBackwardArguments p) {
  using Tile = FloatTile<kHeadDim>;
  const AttentionShapeArguments& shape = p.shape;
  const SequenceTile tile = p.tiles[blockX()];
  const FloatSequence sequence(shape, tile.sequence);
  const int head = blockY();
  const int kvHead = shape.kvHeadOf[head];
  const int firstColumn = blockZ() * kFloatColumns<kHeadDim>;
  const Shared<kHeadDim> shared(biasFloats(shape.bias));
  FloatTilePair pair{fewer(sequence.queries - tile.first, Tile::kRows),
                     sequence.firstPosition + tile.first,
                     0,
                     0,
                     sequence.queryToken + tile.first,
                     sequence.keys};
  const std::int64_t queryStride = std::int64_t{shape.heads} * shape.headDim;
  const std::int64_t keyStride = std::int64_t{shape.kvHeads} * shape.headDim;
  const std::int64_t query = pair.queryToken * queryStride + std::int64_t{head} * shape.headDim;
  loadBias(shape.bias, head, shared.bias);
  for (int i = threadIndex(); i < biasFloats(shape.bias); i += blockThreads()) {
    shared.gradBias[i] = 0.0f;
  }
  loadFloatTile<kHeadDim>(p.q + query, queryStride, shape.headDim, pair.queries, shared.queries);
  loadFloatTile<kHeadDim>(p.gradOut + query, queryStride, shape.headDim, pair.queries,
                          shared.gradOut);
  float sums[4][Tile::kSums] = {};
  const int seen =
      shape.causal ? fewer(sequence.keys, pair.position + pair.queries) : sequence.keys;
  for (pair.firstKey = 0; pair.firstKey < seen; pair.firstKey += Tile::kRows) {
    pair.keys = fewer(sequence.keys - pair.firstKey, Tile::kRows);
    const std::int64_t key =
        (sequence.keyToken + pair.firstKey) * keyStride + std::int64_t{kvHead} * shape.headDim;
    loadFloatTile<kHeadDim>(p.k + key, keyStride, shape.headDim, pair.keys, shared.keys);
    loadFloatTile<kHeadDim>(p.v + key, keyStride, shape.headDim, pair.keys, shared.values);
    blockBarrier();
    writeGradScores<kHeadDim>(p, pair, head, shared);
    blockBarrier();
    addFloatProduct<kHeadDim, false>(shared.gradScores, shared.keys, firstColumn, sums);
    if (shape.bias.table != nullptr && blockZ() == 0) addBiasGradient<kHeadDim>(p, pair, shared);
    blockBarrier();
  }
  const float factors[4] = {shape.scale, shape.scale, shape.scale, shape.scale};
  storeFloatSums<kHeadDim>(sums, factors, firstColumn, shape.headDim, pair.queries, queryStride,
                           p.gradType, p.gradQ, query);
  blockBarrier();  // where there is no key, nobody has waited for the bias' gradient to be zeros
  if (shape.bias.table != nullptr && blockZ() == 0) writeBiasPartial<kHeadDim>(p, head, shared);
}

template <int kHeadDim>
WGQA_KERNEL void WGQA_BOUNDS(kFloatThreads<kHeadDim>, 1)
    attentionFloatKeyGradient(AttentionFloatBackwardArguments p) {
  using Tile = FloatTile<kHeadDim>;
  const AttentionShapeArguments& shape = p.shape;
  const SequenceTile tile = p.tiles[blockX()];
  const FloatSequence sequence(shape, tile.sequence);
  const int kvHead = blockY();
  const int firstColumn = blockZ() * kFloatColumns<kHeadDim>;
  const Shared<kHeadDim> shared(biasFloats(shape.bias));
  FloatTilePair pair{
      0, 0, tile.first, fewer(sequence.keys - tile.first, Tile::kRows), 0, sequence.keys};
  const std::int64_t queryStride = std::int64_t{shape.heads} * shape.headDim;
  const std::int64_t keyStride = std::int64_t{shape.kvHeads} * shape.headDim;
  const std::int64_t key =
      (sequence.keyToken + tile.first) * keyStride + std::int64_t{kvHead} * shape.headDim;
  loadFloatTile<kHeadDim>(p.k + key, keyStride, shape.headDim, pair.keys, shared.keys);
  loadFloatTile<kHeadDim>(p.v + key, keyStride, shape.headDim, pair.keys, shared.values);
  float keySums[4][Tile::kSums] = {};
  float valueSums[4][Tile::kSums] = {};
  for (int head = p.groupHeads[kvHead]; head < p.groupHeads[kvHead + 1]; ++head) {
    loadBias(shape.bias, head, shared.bias);
    for (int first = 0; first < sequence.queries; first += Tile::kRows) {
      pair.queries = fewer(sequence.queries - first, Tile::kRows);
      pair.position = sequence.firstPosition + first;
      pair.queryToken = sequence.queryToken + first;
      // None of these queries sees the first of the keys.
      if (shape.causal && pair.position + pair.queries <= tile.first) continue;
      const std::int64_t query = pair.queryToken * queryStride + std::int64_t{head} * shape.headDim;
      loadFloatTile<kHeadDim>(p.q + query, queryStride, shape.headDim, pair.queries,
                              shared.queries);
      loadFloatTile<kHeadDim>(p.gradOut + query, queryStride, shape.headDim, pair.queries,
                              shared.gradOut);
      blockBarrier();
      writeGradScores<kHeadDim>(p, pair, head, shared);
      blockBarrier();
      addFloatProduct<kHeadDim, true>(shared.weights, shared.gradOut, firstColumn, valueSums);
      addFloatProduct<kHeadDim, true>(shared.gradScores, shared.queries, firstColumn, keySums);
      blockBarrier();
    }
    blockBarrier();  // before the next head's bias
  }
  const float scales[4] = {shape.scale, shape.scale, shape.scale, shape.scale};
  const float ones[4] = {1.0f, 1.0f, 1.0f, 1.0f};
  storeFloatSums<kHeadDim>(keySums, scales, firstColumn, shape.headDim, pair.keys, keyStride,
                           p.gradType, p.gradK, key);
  storeFloatSums<kHeadDim>(valueSums, ones, firstColumn, shape.headDim, pair.keys, keyStride,
                           p.gradType, p.gradV, key);
}

}  // namespace

std::vector<KernelEntry> attentionFloatBackwardKernels() {
  return {kernelEntry<attentionDeltas<float>>(kAttentionDeltas[0]),
          kernelEntry<attentionDeltas<BFloat16Element>>(kAttentionDeltas[1]),
          kernelEntry<attentionFloatQueryGradient<32>>(kAttentionFloatQueryGradient[0]),
          kernelEntry<attentionFloatQueryGradient<64>>(kAttentionFloatQueryGradient[1]),
          kernelEntry<attentionFloatQueryGradient<128>>(kAttentionFloatQueryGradient[2]),
          kernelEntry<attentionFloatQueryGradient<256>>(kAttentionFloatQueryGradient[3]),
          kernelEntry<attentionFloatKeyGradient<32>>(kAttentionFloatKeyGradient[0]),
          kernelEntry<attentionFloatKeyGradient<64>>(kAttentionFloatKeyGradient[1]),
          kernelEntry<attentionFloatKeyGradient<128>>(kAttentionFloatKeyGradient[2]),
          kernelEntry<attentionFloatKeyGradient<256>>(kAttentionFloatKeyGradient[3])};
}

}  // namespace wgqa::cuda
