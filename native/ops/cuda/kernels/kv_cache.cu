#include "ops/cuda/kernels/kv_cache.h"

#include "ops/cuda/kernels/elements.h"
#include "ops/cuda/kernels/reduce.h"
#include "ops/cuda/kernels/registry.h"

namespace wgqa::cuda {
namespace {

struct Slot {
  std::int64_t block;
  std::int64_t place;
};

// What a block of threads shares: the rows of its tokens, padded so that a column of them lies in
// different banks, and where they go.
struct Tile {
  float* rows;  // [kAppendTokens, headDim + 1]
  Slot* slots;  // [kAppendTokens]
  int stride;

  WGQA_DEVICE explicit Tile(int headDim)
      : rows(reinterpret_cast<float*>(dynamicShared<Slot>() + kAppendTokens)),
        slots(dynamicShared<Slot>()),
        stride(headDim + 1) {}
};

template <typename In>
WGQA_DEVICE void loadTile(const Tile& tile, const KvAppendArguments& p, const void* from, int head,
                          std::int64_t first, int count) {
  for (int i = threadIndex(); i < count * p.headDim; i += blockThreads()) {
    const int token = i / p.headDim;
    const int column = i % p.headDim;
    const auto* row =
        static_cast<const In*>(from) + ((first + token) * p.kvHeads + head) * p.headDim;
    tile.rows[token * tile.stride + column] = widen(row[column]);
  }
  if (threadIndex() < count) {
    const std::int64_t slot = p.slots[first + threadIndex()];
    tile.slots[threadIndex()] = {slot / p.blockTokens, slot % p.blockTokens};
  }
}

// A warp per token: its integers, in float32 arithmetic as quantised operations are defined.
WGQA_DEVICE void quantiseTile(const Tile& tile, const KvAppendArguments& p, float* scales, int head,
                              int count) {
  for (int token = warpIndex(); token < count; token += blockThreads() / kWarpThreads) {
    float* row = tile.rows + token * tile.stride;
    float largest = 0.0f;
    for (int i = laneIndex(); i < p.headDim; i += kWarpThreads) {
      largest = fmaxf(largest, fabsf(row[i]));
    }
    largest = warpMax(largest);
    const float factor = largest > 0.0f ? 127.0f / largest : 0.0f;
    for (int i = laneIndex(); i < p.headDim; i += kWarpThreads) row[i] = rintf(row[i] * factor);
    if (laneIndex() == 0) {
      const Slot slot = tile.slots[token];
      scales[slot.block * p.scaleStride + head * p.blockTokens + slot.place] = largest / 127.0f;
    }
  }
}

WGQA_DEVICE void storeElement(float x, float* to) { *to = x; }
WGQA_DEVICE void storeElement(float x, BFloat16Element* to) { round(x, *to); }
WGQA_DEVICE void storeElement(float x, std::int8_t* to) { *to = static_cast<std::int8_t>(x); }

// Neighbouring threads write neighbouring tokens of a component.
template <typename Cache>
WGQA_DEVICE void storeKeys(const Tile& tile, const KvAppendArguments& p, int head, int count) {
  for (int i = threadIndex(); i < kAppendTokens * p.headDim; i += blockThreads()) {
    const int token = i % kAppendTokens;
    const int component = i / kAppendTokens;
    if (token >= count) continue;
    const Slot slot = tile.slots[token];
    Cache* block = static_cast<Cache*>(p.keys) + slot.block * p.keyStride +
                   static_cast<std::int64_t>(head) * p.headDim * p.blockTokens;
    storeElement(tile.rows[token * tile.stride + component],
                 block + static_cast<std::int64_t>(component) * p.blockTokens + slot.place);
  }
}

// Neighbouring threads write neighbouring components of a token.
template <typename Cache>
WGQA_DEVICE void storeValues(const Tile& tile, const KvAppendArguments& p, int head, int count) {
  for (int i = threadIndex(); i < count * p.headDim; i += blockThreads()) {
    const int token = i / p.headDim;
    const int component = i % p.headDim;
    const Slot slot = tile.slots[token];
    Cache* block = static_cast<Cache*>(p.values) + slot.block * p.valueStride +
                   static_cast<std::int64_t>(head) * p.headDim * p.blockTokens;
    storeElement(tile.rows[token * tile.stride + component],
                 block + slot.place * p.headDim + component);
  }
}

template <typename Cache>
struct IsQuantised {
  static constexpr bool value = false;
};
template <>
struct IsQuantised<std::int8_t> {
  static constexpr bool value = true;
};

// x: tokens, y: K/V head, z: keys or values.
template <typename In, typename Cache>
WGQA_KERNEL void WGQA_BOUNDS(128, 8) kvAppend(KvAppendArguments p) {
  const Tile tile(p.headDim);
  const int head = blockY();
  const bool isKeys = blockZ() == 0;
  const std::int64_t first = static_cast<std::int64_t>(blockX()) * kAppendTokens;
  const std::int64_t left = p.tokens - first;
  const int count = static_cast<int>(left < kAppendTokens ? left : kAppendTokens);
  loadTile<In>(tile, p, isKeys ? p.k : p.v, head, first, count);
  blockBarrier();
  if constexpr (IsQuantised<Cache>::value) {
    quantiseTile(tile, p, isKeys ? p.keyScales : p.valueScales, head, count);
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
  return {kernelEntry<kvAppend<float, float>>(kKvAppend[0][0]),
          kernelEntry<kvAppend<float, BFloat16Element>>(kKvAppend[0][1]),
          kernelEntry<kvAppend<float, std::int8_t>>(kKvAppend[0][2]),
          kernelEntry<kvAppend<BFloat16Element, float>>(kKvAppend[1][0]),
          kernelEntry<kvAppend<BFloat16Element, BFloat16Element>>(kKvAppend[1][1]),
          kernelEntry<kvAppend<BFloat16Element, std::int8_t>>(kKvAppend[1][2]),
          kernelEntry<copyBlocks>(kCopyBlocks)};
}

}  // namespace wgqa::cuda
