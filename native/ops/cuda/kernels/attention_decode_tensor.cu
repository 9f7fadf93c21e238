// Decode attention on tensor cores: the query heads of a group are the rows of an mma, so that each
// key and value is read once for all of them. Each warp takes keys of its own, begins to copy all
// of them at once and goes on without the others until the end: enough bytes are under way by what
// blocks run side by side, and nothing waits for a barrier.
#include "ops/cuda/kernels/attention_decode.h"
#include "ops/cuda/kernels/constants.h"
#include "ops/cuda/kernels/elements.h"
#include "ops/cuda/kernels/reduce.h"
#include "ops/cuda/kernels/registry.h"

namespace wgqa::cuda {
namespace {

// Rows of 16-bit numbers in shared memory whose 16-byte units are permuted, so that eight rows of
// one column of units lie in different banks.
template <int kUnits>
WGQA_DEVICE int unitPlace(int row, int unit) {
  static_assert(kUnits == 4 || kUnits >= 8);
  return row * kUnits + (kUnits == 4 ? unit ^ (row / 2 % 4) : unit ^ (row % 8));
}

// Where a copied unit goes: 16-bit numbers where they are read, int8 as it lies, to be widened.
template <int kUnits, typename Cache>
WGQA_DEVICE int copyPlace(int row, int unit) {
  if constexpr (sizeof(Cache) == 1) {
    return row * kUnits + unit;
  } else {
    return unitPlace<kUnits>(row, unit);
  }
}

// What a warp works on, and its part of shared memory.
template <int kHeadDim, typename Cache>
struct WarpTile {
  static constexpr int kKeys = kWarpKeys<kHeadDim>;
  static constexpr int kLaneKeys = kKeys / kWarpThreads;
  static constexpr int kTileBytes = 2 * kKeys * kHeadDim;  // of keys, or of values, in 16 bits
  static constexpr int kCopied = 16 / sizeof(Cache);       // numbers of one copy

  const AttentionDecodeArguments& p;
  unsigned char* keys;
  unsigned char* values;
  int sequence;
  int kvHead;
  int first;  // key of the sequence
  int count;  // of its keys, from there on

  WGQA_DEVICE std::int64_t blockOf(int key) const {
    return p.blockTable[p.tableOffsets[sequence] + key / p.blockTokens];
  }
  WGQA_DEVICE std::int64_t headOffset(std::int64_t stride, std::int64_t block) const {
    return block * stride + static_cast<std::int64_t>(kvHead) * kHeadDim * p.blockTokens;
  }
};

// Begins to copy the keys, as many of a component at a time as make 16 bytes: they lie in one
// block.
template <int kHeadDim, typename Cache>
WGQA_DEVICE void copyKeys(const WarpTile<kHeadDim, Cache>& tile) {
  using Tile = WarpTile<kHeadDim, Cache>;
  constexpr int kUnits = Tile::kKeys / Tile::kCopied;
  const int unit = laneIndex() % kUnits;  // the same for all that a lane copies
  const bool isGiven = unit * Tile::kCopied < tile.count;
  const int key = tile.first + (isGiven ? unit * Tile::kCopied : 0);
  const Cache* from = static_cast<const Cache*>(tile.p.keys) +
                      tile.headOffset(tile.p.keyStride, tile.blockOf(key)) +
                      key % tile.p.blockTokens;
  WGQA_UNROLL_BY(4)
  for (int row = laneIndex() / kUnits; row < kHeadDim; row += kWarpThreads / kUnits) {
    copyAsync16OrZero(tile.keys + 16 * copyPlace<kUnits, Cache>(row, unit),
                      from + static_cast<std::int64_t>(row) * tile.p.blockTokens, isGiven);
  }
}

// Of the keys that a lane looks after: key `laneIndex() + 32 i` of the tile.
template <typename Tile>
struct LaneKeys {
  std::int64_t valueOffsets[Tile::kLaneKeys];
  float keyScales[Tile::kLaneKeys];
  float valueScales[Tile::kLaneKeys];
};

template <int kHeadDim, typename Cache>
WGQA_DEVICE LaneKeys<WarpTile<kHeadDim, Cache>> laneKeys(const WarpTile<kHeadDim, Cache>& tile) {
  using Tile = WarpTile<kHeadDim, Cache>;
  LaneKeys<Tile> result{};
  WGQA_UNROLL
  for (int i = 0; i < Tile::kLaneKeys; ++i) {
    const int place = laneIndex() + kWarpThreads * i;
    if (place >= tile.count) continue;
    const int key = tile.first + place;
    const std::int64_t block = tile.blockOf(key);
    const int inBlock = key % tile.p.blockTokens;
    result.valueOffsets[i] =
        tile.headOffset(tile.p.valueStride, block) + static_cast<std::int64_t>(inBlock) * kHeadDim;
    if constexpr (sizeof(Cache) == 1) {
      const std::int64_t scale = block * tile.p.scaleStride +
                                 static_cast<std::int64_t>(tile.kvHead) * tile.p.blockTokens +
                                 inBlock;
      result.keyScales[i] = tile.p.keyScales[scale];
      result.valueScales[i] = tile.p.valueScales[scale];
    }
  }
  return result;
}

// What the lane that looks after key `place` of the tile has; all lanes ask together, for keys of
// the same 32.
template <typename T, int kLaneKeys>
WGQA_DEVICE T ofKey(const T (&values)[kLaneKeys], int group, int place) {
  return shuffleFrom(values[group], place % kWarpThreads);
}

// Begins to copy the values; those of keys that are not there become zeros, since what lies in
// their places may be NaN.
template <int kHeadDim, typename Cache>
WGQA_DEVICE void copyValues(const WarpTile<kHeadDim, Cache>& tile,
                            const LaneKeys<WarpTile<kHeadDim, Cache>>& own) {
  using Tile = WarpTile<kHeadDim, Cache>;
  constexpr int kUnits = kHeadDim / Tile::kCopied;
  constexpr int kRowsAtOnce = kWarpThreads / kUnits;
  const int unit = laneIndex() % kUnits;
  WGQA_UNROLL
  for (int group = 0; group < Tile::kLaneKeys; ++group) {
    WGQA_UNROLL_BY(4)
    for (int i = 0; i < kWarpThreads; i += kRowsAtOnce) {
      const int row = kWarpThreads * group + i + laneIndex() / kUnits;
      const Cache* from = static_cast<const Cache*>(tile.p.values) +
                          ofKey(own.valueOffsets, group, row) + unit * Tile::kCopied;
      copyAsync16OrZero(tile.values + 16 * copyPlace<kUnits, Cache>(row, unit), from,
                        row < tile.count);
    }
  }
}

// The integers of a row of kUnits * 8 numbers in shared memory, as T in a permuted tile: exact,
// since eight bits hold them. The tile begins where the integers do: all are read before the first
// is written.
template <typename T, int kRows, int kUnits>
WGQA_DEVICE void widenTile(unsigned char* tile) {
  constexpr int kPieces = kRows * kUnits / kWarpThreads;  // of eight numbers, of a lane
  Vector<std::int8_t, 8> pieces[kPieces];
  WGQA_UNROLL
  for (int i = 0; i < kPieces; ++i) {
    pieces[i] = loadWhole<Vector<std::int8_t, 8>>(tile + 8 * (i * kWarpThreads + laneIndex()));
  }
  warpBarrier();
  WGQA_UNROLL
  for (int i = 0; i < kPieces; ++i) {
    const int at = i * kWarpThreads + laneIndex();
    Vector<T, 8> wide;
    WGQA_UNROLL
    for (int j = 0; j < 8; ++j) {
      round(static_cast<float>(pieces[i].elements[j]), wide.elements[j]);
    }
    storeWhole(tile + 16 * unitPlace<kUnits>(at / kUnits, at % kUnits), wide);
  }
  warpBarrier();
}

// Sixteen query heads as an operand: lanes hold rows l / 4 and l / 4 + 8.
template <int kHeadDim, typename T>
WGQA_DEVICE void loadQueries(std::uint32_t (&out)[kHeadDim / 16][4],
                             const AttentionDecodeArguments& p, int sequence, int firstHead,
                             int heads) {
  const auto* q = static_cast<const T*>(p.q) +
                  (static_cast<std::int64_t>(sequence) * p.heads + firstHead) * kHeadDim;
  WGQA_UNROLL
  for (int k = 0; k < kHeadDim / 16; ++k) {
    WGQA_UNROLL
    for (int i = 0; i < 4; ++i) {
      const int row = laneIndex() / 4 + 8 * (i % 2);
      const int column = 16 * k + 8 * (i / 2) + 2 * (laneIndex() % 4);
      out[k][i] = row < heads ? loadWhole<std::uint32_t>(q + row * kHeadDim + column) : 0u;
    }
  }
}

// sums [16 heads, keys] = queries * keys, in fragments of 16 x 8.
template <int kHeadDim, int kKeys, typename T>
WGQA_DEVICE void multiplyKeys(float (&sums)[kKeys / 8][4],
                              const std::uint32_t (&queries)[kHeadDim / 16][4],
                              const unsigned char* keys) {
  const int lane = laneIndex();
  WGQA_UNROLL
  for (int k = 0; k < kHeadDim / 16; ++k) {
    WGQA_UNROLL
    for (int n = 0; n < kKeys / 8; n += 2) {
      std::uint32_t b[4];
      loadMatricesTransposed(b,
                             keys + 16 * unitPlace<kKeys / 8>(16 * k + lane % 16, n + lane / 16));
      T::multiplyAdd(sums[n], queries[k], {b[0], b[1]});
      T::multiplyAdd(sums[n + 1], queries[k], {b[2], b[3]});
    }
  }
}

// sums [16 heads, headDim] += weights * values.
template <int kHeadDim, int kKeys, typename T>
WGQA_DEVICE void multiplyValues(float (&sums)[kHeadDim / 8][4],
                                const float (&weights)[kKeys / 8][4], const unsigned char* values) {
  const int lane = laneIndex();
  WGQA_UNROLL
  for (int k = 0; k < kKeys / 16; ++k) {
    const auto& low = weights[2 * k];
    const auto& high = weights[2 * k + 1];
    const std::uint32_t a[4] = {T::pairBits(low[0], low[1]), T::pairBits(low[2], low[3]),
                                T::pairBits(high[0], high[1]), T::pairBits(high[2], high[3])};
    WGQA_UNROLL
    for (int n = 0; n < kHeadDim / 8; n += 2) {
      std::uint32_t b[4];
      loadMatricesTransposed(
          b, values + 16 * unitPlace<kHeadDim / 8>(16 * k + lane % 16, n + lane / 16));
      T::multiplyAdd(sums[n], a, {b[0], b[1]});
      T::multiplyAdd(sums[n + 1], a, {b[2], b[3]});
    }
  }
}

// Two rows of heads of a lane: their bias at a distance, in units of log 2.
struct RowBias {
  const RelativeBiasArguments& bias;
  int heads[2];
  bool isConstant;  // all keys of the warp are beyond the bias' reach
  float constants[2];

  WGQA_DEVICE float at(int distance, int row) const {
    if (bias.table == nullptr) return 0.0f;
    if (isConstant) return constants[row];
    return lookUp(distance, row);
  }
  WGQA_DEVICE float lookUp(int distance, int row) const {
    const int bucket = bias.buckets[distancePlace(distance, bias.reach)];
    return bias.table[bucket * bias.heads + heads[row]] * kLog2E;
  }
};

WGQA_DEVICE RowBias rowBias(const RelativeBiasArguments& bias, int firstHead, int heads,
                            int largestDistance) {
  const int row = laneIndex() / 4;
  // Rows without a head take the first one's bias: nobody reads them.
  RowBias result{bias,
                 {firstHead + (row < heads ? row : 0), firstHead + (row + 8 < heads ? row + 8 : 0)},
                 largestDistance <= -bias.reach,
                 {0.0f, 0.0f}};
  if (bias.table != nullptr && result.isConstant) {
    result.constants[0] = result.lookUp(-bias.reach, 0);
    result.constants[1] = result.lookUp(-bias.reach, 1);
  }
  return result;
}

// Products become scores: scaled, with the bias; minus infinity where there is no key.
template <int kHeadDim, typename Cache>
WGQA_DEVICE void finishScores(float (&scores)[kWarpKeys<kHeadDim> / 8][4],
                              const WarpTile<kHeadDim, Cache>& tile,
                              const LaneKeys<WarpTile<kHeadDim, Cache>>& own, const RowBias& bias,
                              int length) {
  WGQA_UNROLL
  for (int n = 0; n < kWarpKeys<kHeadDim> / 8; ++n) {
    WGQA_UNROLL
    for (int column = 0; column < 2; ++column) {
      const int place = 8 * n + 2 * (laneIndex() % 4) + column;
      float scale = tile.p.scale;
      if constexpr (sizeof(Cache) == 1) scale *= ofKey(own.keyScales, n / 4, place);
      const bool isKey = place < tile.count;
      WGQA_UNROLL
      for (int row = 0; row < 2; ++row) {
        float& score = scores[n][2 * row + column];
        const float biased = score * scale + bias.at(tile.first + place - (length - 1), row);
        score = isKey ? biased : kMinusInfinity;
      }
    }
  }
}

// Scores become exp2(score - max) of a row; the row's maximum and sum.
template <int kFragments>
WGQA_DEVICE PartialSoftmax softmaxRow(float (&scores)[kFragments][4], int row) {
  float most = kMinusInfinity;
  WGQA_UNROLL
  for (int n = 0; n < kFragments; ++n) {
    most = fmaxf(most, fmaxf(scores[n][2 * row], scores[n][2 * row + 1]));
  }
  most = warpMax<4>(most);
  float sum = 0.0f;
  WGQA_UNROLL
  for (int n = 0; n < kFragments; ++n) {
    WGQA_UNROLL
    for (int column = 0; column < 2; ++column) {
      float& score = scores[n][2 * row + column];
      score = score == kMinusInfinity ? 0.0f : fastExp2(score - most);
      sum += score;
    }
  }
  return {most, warpSum<4>(sum)};
}

template <int kHeadDim, typename Cache>
WGQA_DEVICE void scaleWeights(float (&weights)[kWarpKeys<kHeadDim> / 8][4],
                              const LaneKeys<WarpTile<kHeadDim, Cache>>& own) {
  WGQA_UNROLL
  for (int n = 0; n < kWarpKeys<kHeadDim> / 8; ++n) {
    WGQA_UNROLL
    for (int column = 0; column < 2; ++column) {
      const float scale = ofKey(own.valueScales, n / 4, 8 * n + 2 * (laneIndex() % 4) + column);
      weights[n][column] *= scale;
      weights[n][2 + column] *= scale;
    }
  }
}

// What the warps of a block came to, for one set of sixteen heads: each warp's sums [16, headDim]
// at sums + warp * stride.
struct WarpResults {
  unsigned char* sums;
  int stride;
  PartialSoftmax* softmaxes;  // [kDecodeWarps, kTensorHeads]

  WGQA_DEVICE float* row(int warp, int head, int headDim) const {
    return reinterpret_cast<float*>(sums + warp * stride) + head * headDim;
  }
};

template <int kHeadDim>
WGQA_DEVICE void keepResult(const WarpResults& results, const float (&sums)[kHeadDim / 8][4],
                            const PartialSoftmax (&softmaxes)[2]) {
  WGQA_UNROLL
  for (int row = 0; row < 2; ++row) {
    const int head = laneIndex() / 4 + 8 * row;
    float* to = results.row(warpIndex(), head, kHeadDim) + 2 * (laneIndex() % 4);
    WGQA_UNROLL
    for (int n = 0; n < kHeadDim / 8; ++n) {
      storeVector(to + 8 * n, Vector<float, 2>{{sums[n][2 * row], sums[n][2 * row + 1]}});
    }
    if (laneIndex() % 4 == 0) {
      results.softmaxes[warpIndex() * kTensorHeads + head] = softmaxes[row];
    }
  }
}

// Joins the warps' results in their order, and writes the block's.
template <int kHeadDim>
WGQA_DEVICE void joinWarps(const WarpResults& results, const AttentionDecodeArguments& p,
                           int sequence, int firstHead, int heads) {
  for (int i = threadIndex(); i < heads * kHeadDim; i += kDecodeThreads) {
    const int head = i / kHeadDim;
    const int d = i % kHeadDim;
    float most = kMinusInfinity;
    WGQA_UNROLL
    for (int warp = 0; warp < kDecodeWarps; ++warp) {
      most = fmaxf(most, results.softmaxes[warp * kTensorHeads + head].max);
    }
    float sum = 0.0f;
    float total = 0.0f;
    WGQA_UNROLL
    for (int warp = 0; warp < kDecodeWarps; ++warp) {
      const PartialSoftmax softmax = results.softmaxes[warp * kTensorHeads + head];
      const float factor = softmax.max == kMinusInfinity ? 0.0f : fastExp2(softmax.max - most);
      sum += results.row(warp, head, kHeadDim)[d] * factor;
      total += softmax.sum * factor;
    }
    const std::int64_t row = static_cast<std::int64_t>(sequence) * p.heads + firstHead + head;
    if (gridX() > 1) {
      p.partials[(row * gridX() + blockX()) * kHeadDim + d] = sum;
      if (d == 0) p.softmaxes[row * gridX() + blockX()] = {most, total};
    } else {
      roundTo(sum / total, p.out, row * kHeadDim + d, p.outType);
    }
  }
}

// What values are in the product with the weights. Weights times an int8 value's scale may leave
// the range of float16, in which they would meet its integers.
template <typename Cache>
struct ValueOf {
  using Type = Cache;
};
template <>
struct ValueOf<std::int8_t> {
  using Type = BFloat16Element;
};

// Two blocks side by side keep 128 KiB under way, three times what a multiprocessor of an H100
// takes in while it waits for memory.
template <int kHeadDim, typename Query, typename Cache>
WGQA_KERNEL void WGQA_BOUNDS(kDecodeThreads, 2) attentionDecodeTensor(AttentionDecodeArguments p) {
  using Value = typename ValueOf<Cache>::Type;
  using Tile = WarpTile<kHeadDim, Cache>;
  constexpr int kKeys = Tile::kKeys;
  const int length = p.lengths[blockZ()];
  const int begin = blockX() * p.splitKeys;
  if (begin >= length) return;
  const int end = begin + p.splitKeys < length ? begin + p.splitKeys : length;
  unsigned char* shared = dynamicShared<unsigned char>();
  constexpr int kWarpBytes = 2 * Tile::kTileBytes;
  auto* softmaxes = reinterpret_cast<PartialSoftmax*>(shared + kDecodeWarps * kWarpBytes);
  // The sums of one set of heads take the place of the keys, which are not needed any more.
  const bool isOneSet = p.groupHeads[blockY() + 1] - p.groupHeads[blockY()] <= kTensorHeads;
  const WarpResults results{
      isOneSet ? shared : reinterpret_cast<unsigned char*>(softmaxes + kDecodeWarps * kTensorHeads),
      isOneSet ? kWarpBytes : static_cast<int>(sizeof(float)) * kTensorHeads * kHeadDim, softmaxes};
  unsigned char* tiles = shared + kWarpBytes * warpIndex();
  const int first = begin + warpIndex() * kKeys;
  const int left = end - first;
  const Tile tile{p,
                  tiles,
                  tiles + Tile::kTileBytes,
                  blockZ(),
                  blockY(),
                  first,
                  left < 0       ? 0
                  : left < kKeys ? left
                                 : kKeys};
  if (tile.count > 0) copyKeys(tile);
  commitCopies();
  const auto own = laneKeys(tile);
  if (tile.count > 0) copyValues(tile, own);
  commitCopies();
  waitForCopies<1>();
  warpBarrier();
  if constexpr (sizeof(Cache) == 1) widenTile<Query, kHeadDim, kKeys / 8>(tile.keys);
  bool hasValues = false;
  for (int head = p.groupHeads[tile.kvHead]; head < p.groupHeads[tile.kvHead + 1];
       head += kTensorHeads) {
    const int more = p.groupHeads[tile.kvHead + 1] - head;
    const int heads = more < kTensorHeads ? more : kTensorHeads;
    float weights[kKeys / 8][4] = {};
    {
      std::uint32_t queries[kHeadDim / 16][4];
      loadQueries<kHeadDim, Query>(queries, p, tile.sequence, head, heads);
      multiplyKeys<kHeadDim, kKeys, Query>(weights, queries, tile.keys);
    }
    const RowBias bias = rowBias(p.bias, head, heads, tile.first + tile.count - 1 - (length - 1));
    finishScores<kHeadDim, Cache>(weights, tile, own, bias, length);
    const PartialSoftmax rows[2] = {softmaxRow(weights, 0), softmaxRow(weights, 1)};
    if (!hasValues) {
      waitForCopies<0>();
      warpBarrier();
      if constexpr (sizeof(Cache) == 1) widenTile<Value, kKeys, kHeadDim / 8>(tile.values);
      hasValues = true;
    }
    if constexpr (sizeof(Cache) == 1) scaleWeights<kHeadDim, Cache>(weights, own);
    float sums[kHeadDim / 8][4] = {};
    if (tile.count > 0) multiplyValues<kHeadDim, kKeys, Value>(sums, weights, tile.values);
    keepResult<kHeadDim>(results, sums, rows);
    blockBarrier();
    joinWarps<kHeadDim>(results, p, tile.sequence, head, heads);
    blockBarrier();  // before the next heads' results
  }
}

}  // namespace

std::vector<KernelEntry> attentionDecodeTensorKernels() {
  using Float16 = Float16Element;
  using BFloat16 = BFloat16Element;
  return {kernelEntry<attentionDecodeTensor<64, Float16, Float16>>(kDecodeTensor[0][0][0]),
          kernelEntry<attentionDecodeTensor<64, Float16, std::int8_t>>(kDecodeTensor[0][0][1]),
          kernelEntry<attentionDecodeTensor<64, BFloat16, BFloat16>>(kDecodeTensor[0][1][0]),
          kernelEntry<attentionDecodeTensor<64, BFloat16, std::int8_t>>(kDecodeTensor[0][1][1]),
          kernelEntry<attentionDecodeTensor<128, Float16, Float16>>(kDecodeTensor[1][0][0]),
          kernelEntry<attentionDecodeTensor<128, Float16, std::int8_t>>(kDecodeTensor[1][0][1]),
          kernelEntry<attentionDecodeTensor<128, BFloat16, BFloat16>>(kDecodeTensor[1][1][0]),
          kernelEntry<attentionDecodeTensor<128, BFloat16, std::int8_t>>(kDecodeTensor[1][1][1])};
}

}  // namespace wgqa::cuda
