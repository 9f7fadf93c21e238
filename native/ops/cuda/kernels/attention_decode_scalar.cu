// Decode attention in float32 arithmetic, for any sizes and types.
#include "ops/cuda/kernels/attention_decode.h"
#include "ops/cuda/kernels/constants.h"
#include "ops/cuda/kernels/elements.h"
#include "ops/cuda/kernels/reduce.h"
#include "ops/cuda/kernels/registry.h"

namespace wgqa::cuda {
namespace {

// The keys of this block of threads.
struct Split {
  int sequence;
  int kvHead;
  int length;  // of the sequence
  int begin;   // of the split
  int count;
};

WGQA_DEVICE Split splitOf(const AttentionDecodeArguments& p) {
  Split split{blockZ(), blockY(), p.lengths[blockZ()], blockX() * p.splitKeys, 0};
  const int left = split.length - split.begin;
  split.count = left < p.splitKeys ? left : p.splitKeys;
  return split;
}

// Shared memory of the block.
struct Shared {
  float* queries;             // [kScalarHeads, headDim]
  float* weights;             // [kScalarHeads, kScalarSplitKeys]: scores, then exp2(score - max)
  float* sums;                // [kScalarHeads, headDim]
  PartialSoftmax* softmaxes;  // [kScalarHeads]

  WGQA_DEVICE explicit Shared(int headDim)
      : queries(dynamicShared<float>()),
        weights(queries + kScalarHeads * headDim),
        sums(weights + kScalarHeads * kScalarSplitKeys),
        softmaxes(reinterpret_cast<PartialSoftmax*>(sums + kScalarHeads * headDim)) {}
};

// Where a key is: its block, and its place in it.
struct KeyPlace {
  std::int64_t block;
  int place;
};

WGQA_DEVICE KeyPlace placeOf(const AttentionDecodeArguments& p, int sequence, int key) {
  return {p.blockTable[p.tableOffsets[sequence] + key / p.blockTokens], key % p.blockTokens};
}

WGQA_DEVICE float scaleAt(const float* scales, const AttentionDecodeArguments& p,
                          const KeyPlace& key, int kvHead) {
  if (scales == nullptr) return 1.0f;
  return scales[key.block * p.scaleStride + static_cast<std::int64_t>(kvHead) * p.blockTokens +
                key.place];
}

WGQA_DEVICE float biasAt(const RelativeBiasArguments& bias, int distance, int head) {
  if (bias.table == nullptr) return 0.0f;
  return bias.table[bias.buckets[distancePlace(distance, bias.reach)] * bias.heads + head] * kLog2E;
}

template <typename Query>
WGQA_DEVICE void loadQueries(const Shared& shared, const AttentionDecodeArguments& p, int sequence,
                             int firstHead, int heads) {
  const auto* from = static_cast<const Query*>(p.q) +
                     (static_cast<std::int64_t>(sequence) * p.heads + firstHead) * p.headDim;
  for (int i = threadIndex(); i < kScalarHeads * p.headDim; i += blockThreads()) {
    shared.queries[i] = i < heads * p.headDim ? widen(from[i]) : 0.0f;
    shared.sums[i] = 0.0f;
  }
}

// A thread per key: its scores with all heads.
template <typename Cache>
WGQA_DEVICE void writeScores(const Shared& shared, const AttentionDecodeArguments& p,
                             const Split& split, int firstHead, int heads) {
  for (int i = threadIndex(); i < split.count; i += blockThreads()) {
    const KeyPlace key = placeOf(p, split.sequence, split.begin + i);
    const Cache* column = static_cast<const Cache*>(p.keys) + key.block * p.keyStride +
                          static_cast<std::int64_t>(split.kvHead) * p.headDim * p.blockTokens +
                          key.place;
    float scores[kScalarHeads] = {};
    for (int d = 0; d < p.headDim; ++d) {
      const float component = widen(column[static_cast<std::int64_t>(d) * p.blockTokens]);
      WGQA_UNROLL
      for (int head = 0; head < kScalarHeads; ++head) {
        scores[head] += shared.queries[head * p.headDim + d] * component;
      }
    }
    const float scale = p.scale * scaleAt(p.keyScales, p, key, split.kvHead);
    const int distance = split.begin + i - (split.length - 1);
    WGQA_UNROLL
    for (int head = 0; head < kScalarHeads; ++head) {
      if (head >= heads) continue;
      shared.weights[head * kScalarSplitKeys + i] =
          scores[head] * scale + biasAt(p.bias, distance, firstHead + head);
    }
  }
}

// A warp per head: exp2(score - max) in place.
WGQA_DEVICE void softmax(const Shared& shared, const Split& split, int heads) {
  for (int head = warpIndex(); head < heads; head += kDecodeWarps) {
    float* weights = shared.weights + head * kScalarSplitKeys;
    float most = kMinusInfinity;
    for (int i = laneIndex(); i < split.count; i += kWarpThreads) most = fmaxf(most, weights[i]);
    most = warpMax(most);
    float sum = 0.0f;
    for (int i = laneIndex(); i < split.count; i += kWarpThreads) {
      weights[i] = exp2f(weights[i] - most);
      sum += weights[i];
    }
    sum = warpSum(sum);
    if (laneIndex() == 0) shared.softmaxes[head] = {most, sum};
  }
}

// A thread per component of the value, and per part of the keys: `parts` threads share a component
// and add what they have in turn.
template <typename Cache>
WGQA_DEVICE void addValues(const Shared& shared, const AttentionDecodeArguments& p,
                           const Split& split, int heads) {
  const int width = p.headDim < kDecodeThreads ? p.headDim : kDecodeThreads;
  const int parts = kDecodeThreads / width;
  const int part = threadIndex() / width;
  for (int first = 0; first < p.headDim; first += width) {
    const int d = first + threadIndex() % width;
    float sums[kScalarHeads] = {};
    if (part < parts && d < p.headDim) {
      for (int i = part; i < split.count; i += parts) {
        const KeyPlace key = placeOf(p, split.sequence, split.begin + i);
        const Cache* row = static_cast<const Cache*>(p.values) + key.block * p.valueStride +
                           static_cast<std::int64_t>(split.kvHead) * p.headDim * p.blockTokens +
                           static_cast<std::int64_t>(key.place) * p.headDim;
        const float component = widen(row[d]) * scaleAt(p.valueScales, p, key, split.kvHead);
        WGQA_UNROLL
        for (int head = 0; head < kScalarHeads; ++head) {
          if (head < heads) sums[head] += shared.weights[head * kScalarSplitKeys + i] * component;
        }
      }
    }
    for (int turn = 0; turn < parts; ++turn) {
      if (part == turn && d < p.headDim) {
        WGQA_UNROLL
        for (int head = 0; head < kScalarHeads; ++head) {
          if (head < heads) shared.sums[head * p.headDim + d] += sums[head];
        }
      }
      blockBarrier();
    }
  }
}

WGQA_DEVICE void writeResult(const Shared& shared, const AttentionDecodeArguments& p,
                             const Split& split, int firstHead, int heads) {
  for (int i = threadIndex(); i < heads * p.headDim; i += blockThreads()) {
    const int head = i / p.headDim;
    const std::int64_t row = static_cast<std::int64_t>(split.sequence) * p.heads + firstHead + head;
    const PartialSoftmax softmax = shared.softmaxes[head];
    if (gridX() > 1) {
      p.partials[(row * gridX() + blockX()) * p.headDim + i % p.headDim] = shared.sums[i];
      if (i % p.headDim == 0) p.softmaxes[row * gridX() + blockX()] = softmax;
      continue;
    }
    roundTo(shared.sums[i] / softmax.sum, p.out, row * p.headDim + i % p.headDim, p.outType);
  }
}

template <typename Query, typename Cache>
WGQA_KERNEL void WGQA_BOUNDS(kDecodeThreads, 4) attentionDecodeScalar(AttentionDecodeArguments p) {
  const Split split = splitOf(p);
  if (split.count <= 0) return;
  const Shared shared(p.headDim);
  const int end = p.groupHeads[split.kvHead + 1];
  for (int first = p.groupHeads[split.kvHead]; first < end; first += kScalarHeads) {
    const int heads = end - first < kScalarHeads ? end - first : kScalarHeads;
    loadQueries<Query>(shared, p, split.sequence, first, heads);
    blockBarrier();
    writeScores<Cache>(shared, p, split, first, heads);
    blockBarrier();
    softmax(shared, split, heads);
    blockBarrier();
    addValues<Cache>(shared, p, split, heads);
    writeResult(shared, p, split, first, heads);
    blockBarrier();
  }
}

}  // namespace

std::vector<KernelEntry> attentionDecodeScalarKernels() {
  using Float16 = Float16Element;
  using BFloat16 = BFloat16Element;
  return {kernelEntry<attentionDecodeScalar<float, float>>(kDecodeScalar[0][0]),
          kernelEntry<attentionDecodeScalar<float, Float16>>(kDecodeScalar[0][1]),
          kernelEntry<attentionDecodeScalar<float, BFloat16>>(kDecodeScalar[0][2]),
          kernelEntry<attentionDecodeScalar<float, std::int8_t>>(kDecodeScalar[0][3]),
          kernelEntry<attentionDecodeScalar<Float16, float>>(kDecodeScalar[1][0]),
          kernelEntry<attentionDecodeScalar<Float16, Float16>>(kDecodeScalar[1][1]),
          kernelEntry<attentionDecodeScalar<Float16, BFloat16>>(kDecodeScalar[1][2]),
          kernelEntry<attentionDecodeScalar<Float16, std::int8_t>>(kDecodeScalar[1][3]),
          kernelEntry<attentionDecodeScalar<BFloat16, float>>(kDecodeScalar[2][0]),
          kernelEntry<attentionDecodeScalar<BFloat16, Float16>>(kDecodeScalar[2][1]),
          kernelEntry<attentionDecodeScalar<BFloat16, BFloat16>>(kDecodeScalar[2][2]),
          kernelEntry<attentionDecodeScalar<BFloat16, std::int8_t>>(kDecodeScalar[2][3])};
}

}  // namespace wgqa::cuda
