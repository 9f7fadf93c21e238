#include "ops/cuda/kernels/kv_cache.h"

#include "ops/cuda/kernels/groups.h"
#include "ops/cuda/kernels/quantisation.h"
#include "ops/cuda/kernels/reduce.h"
#include "ops/cuda/kernels/registry.h"

namespace wgqa::cuda {
namespace {

// What a block of threads shares: where its tokens go, and their rows.
struct Tile {
  AppendSlot* slots;  // [tileTokens]
  float* rows;        // [tileTokens, stride]
  int stride;

  WGQA_DEVICE explicit Tile(const KvAppendArguments& p)
      : slots(dynamicShared<AppendSlot>()),
        rows(reinterpret_cast<float*>(slots + p.tileTokens)),
        stride(p.rowStride) {}
};

// The columns of a row are read four at a time, several of these at once.
template <typename In>
WGQA_DEVICE void loadRowsAligned(const Tile& tile, const KvAppendArguments& p, const In* from,
                                 int count) {
  constexpr int kInFlight = 4;
  const int rowGroups = p.headDim / 4;
  for (int first = threadIndex(); first < count * rowGroups; first += kInFlight * blockThreads()) {
    Vector<In, 4> loaded[kInFlight];
    WGQA_UNROLL
    for (int i = 0; i < kInFlight; ++i) {
      const int at = first + i * blockThreads();
      if (at >= count * rowGroups) continue;
      const std::int64_t row = at / rowGroups * (static_cast<std::int64_t>(p.kvHeads) * p.headDim);
      loaded[i] = loadVector<4>(from + row + at % rowGroups * 4);
    }
    WGQA_UNROLL
    for (int i = 0; i < kInFlight; ++i) {
      const int at = first + i * blockThreads();
      if (at >= count * rowGroups) continue;
      float* to = tile.rows + at / rowGroups * tile.stride + at % rowGroups * 4;
      WGQA_UNROLL
      for (int j = 0; j < 4; ++j) to[j] = widen(loaded[i].elements[j]);
    }
  }
}

// `from`: the first token's row.
template <typename In>
WGQA_DEVICE void loadRows(const Tile& tile, const KvAppendArguments& p, const In* from, int count) {
  if (p.headDim % 4 == 0 && isAlignedFor<4>(from)) return loadRowsAligned(tile, p, from, count);
  for (int i = threadIndex(); i < count * p.headDim; i += blockThreads()) {
    const int token = i / p.headDim;
    const int column = i % p.headDim;
    tile.rows[token * tile.stride + column] =
        widen(from[token * (static_cast<std::int64_t>(p.kvHeads) * p.headDim) + column]);
  }
}

// A warp per token: its integers.
WGQA_DEVICE void quantiseRows(const Tile& tile, const KvAppendArguments& p, float* scales, int head,
                              int count) {
  for (int token = warpIndex(); token < count; token += blockThreads() / kWarpThreads) {
    float* row = tile.rows + token * tile.stride;
    float largest = 0.0f;
    for (int i = laneIndex(); i < p.headDim; i += kWarpThreads) {
      largest = fmaxf(largest, fabsf(row[i]));
    }
    largest = warpMax(largest);
    const Quantiser quantiser(largest);
    for (int i = laneIndex(); i < p.headDim; i += kWarpThreads) row[i] = quantiser.integer(row[i]);
    if (laneIndex() == 0) {
      const AppendSlot slot = tile.slots[token];
      scales[slot.block * p.scaleStride + static_cast<std::int64_t>(head) * p.blockTokens +
             slot.place] = quantiser.scale;
    }
  }
}

template <typename Cache>
WGQA_DEVICE void storeElement(float x, Cache& to) {
  round(x, to);
}
WGQA_DEVICE void storeElement(float x, std::int8_t& to) { to = static_cast<std::int8_t>(x); }

template <typename Cache>
WGQA_DEVICE void storeFour(const float* from, Cache* to) {
  Vector<Cache, 4> vector;
  WGQA_UNROLL
  for (int i = 0; i < 4; ++i) storeElement(from[i], vector.elements[i]);
  storeVector(to, vector);
}

// A thread writes components of one token; neighbouring threads have neighbouring tokens, so that
// those of a prompt are written along the rows in which keys lie.
template <typename Cache>
WGQA_DEVICE void storeKeys(const Tile& tile, const KvAppendArguments& p, int head, int count) {
  const int token = threadIndex() % p.tileTokens;
  if (token >= count) return;
  const AppendSlot slot = tile.slots[token];
  Cache* to = static_cast<Cache*>(p.keys) + slot.block * p.keyStride +
              static_cast<std::int64_t>(head) * p.headDim * p.blockTokens + slot.place;
  const float* from = tile.rows + token * tile.stride;
  const int step = blockThreads() / p.tileTokens;
  for (int i = threadIndex() / p.tileTokens; i < p.headDim; i += step) {
    storeElement(from[i], to[static_cast<std::int64_t>(i) * p.blockTokens]);
  }
}

// A thread writes four components of a token; neighbouring threads have neighbouring components.
template <typename Cache>
WGQA_DEVICE void storeValues(const Tile& tile, const KvAppendArguments& p, int head, int count) {
  Cache* values =
      static_cast<Cache*>(p.values) + static_cast<std::int64_t>(head) * p.headDim * p.blockTokens;
  const int rowGroups = (p.headDim + 3) / 4;
  for (int i = threadIndex(); i < count * rowGroups; i += blockThreads()) {
    const int token = i / rowGroups;
    const int column = i % rowGroups * 4;
    const float* from = tile.rows + token * tile.stride + column;
    const AppendSlot slot = tile.slots[token];
    Cache* to = values + slot.block * p.valueStride + slot.place * p.headDim + column;
    if (column + 4 <= p.headDim && isAlignedFor<4>(to)) {
      storeFour(from, to);
      continue;
    }
    for (int j = 0; j < 4 && column + j < p.headDim; ++j) storeElement(from[j], to[j]);
  }
}

// x: tokens, y: K/V head, z: keys or values.
template <typename In, typename Cache>
WGQA_KERNEL void WGQA_BOUNDS(128, 8) kvAppend(KvAppendArguments p) {
  const Tile tile(p);
  const int head = blockY();
  const bool isKeys = blockZ() == 0;
  const std::int64_t first = static_cast<std::int64_t>(blockX()) * p.tileTokens;
  const std::int64_t left = p.tokens - first;
  const int count = static_cast<int>(left < p.tileTokens ? left : p.tileTokens);
  if (threadIndex() < count) {
    const std::int64_t slot = p.slots[first + threadIndex()];
    tile.slots[threadIndex()] = {slot / p.blockTokens, slot % p.blockTokens};
  }
  const auto* rows = static_cast<const In*>(isKeys ? p.k : p.v);
  loadRows(tile, p, rows + (first * p.kvHeads + head) * p.headDim, count);
  blockBarrier();
  if constexpr (sizeof(Cache) == 1) {
    quantiseRows(tile, p, isKeys ? p.keyScales : p.valueScales, head, count);
    blockBarrier();
  }
  if (isKeys) {
    storeKeys<Cache>(tile, p, head, count);
  } else {
    storeValues<Cache>(tile, p, head, count);
  }
}

WGQA_KERNEL void WGQA_BOUNDS(256, 4) copyBlocks(CopyBlocksArguments p) {
  using Bytes16 = Vector<std::uint32_t, 4>;
  std::byte* layer = p.blocks + blockY() * p.layerBytes;
  const auto* from =
      reinterpret_cast<const std::uint32_t*>(layer + p.sources[blockX()] * p.blockBytes);
  auto* to = reinterpret_cast<std::uint32_t*>(layer + p.destinations[blockX()] * p.blockBytes);
  const std::int64_t words = p.blockBytes / 4;
  if (p.blockBytes % 16 == 0) {
    for (std::int64_t i = threadIndex(); i < words / 4; i += blockThreads()) {
      storeWhole(to + 4 * i, loadWhole<Bytes16>(from + 4 * i));
    }
    return;
  }
  for (std::int64_t i = threadIndex(); i < words; i += blockThreads()) to[i] = from[i];
}

}  // namespace

std::vector<KernelEntry> kvCacheKernels() {
  using Float16 = Float16Element;
  using BFloat16 = BFloat16Element;
  return {kernelEntry<kvAppend<float, float>>(kKvAppend[0][0]),
          kernelEntry<kvAppend<float, Float16>>(kKvAppend[0][1]),
          kernelEntry<kvAppend<float, BFloat16>>(kKvAppend[0][2]),
          kernelEntry<kvAppend<float, std::int8_t>>(kKvAppend[0][3]),
          kernelEntry<kvAppend<Float16, float>>(kKvAppend[1][0]),
          kernelEntry<kvAppend<Float16, Float16>>(kKvAppend[1][1]),
          kernelEntry<kvAppend<Float16, BFloat16>>(kKvAppend[1][2]),
          kernelEntry<kvAppend<Float16, std::int8_t>>(kKvAppend[1][3]),
          kernelEntry<kvAppend<BFloat16, float>>(kKvAppend[2][0]),
          kernelEntry<kvAppend<BFloat16, Float16>>(kKvAppend[2][1]),
          kernelEntry<kvAppend<BFloat16, BFloat16>>(kKvAppend[2][2]),
          kernelEntry<kvAppend<BFloat16, std::int8_t>>(kKvAppend[2][3]),
          kernelEntry<copyBlocks>(kCopyBlocks)};
}

}  // namespace wgqa::cuda
