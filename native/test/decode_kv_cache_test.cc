// Storage of the cache: bytes, copies and the budget.
#include <cstring>
#include <vector>

#include "decode/kv_cache.h"
#include "test/harness.h"

namespace wgqa {
namespace {

constexpr EncoderDecoder::CacheShape kShape{
    .layers = 3, .selfKvHeads = 2, .crossKvHeads = 1, .headDim = 8};

WGQA_TEST(decodeCacheBytesFollowTheFormula) {
  for (const DType dtype : {DType::float32, DType::bfloat16}) {
    const auto elementBytes = static_cast<std::int64_t>(bytesOf(dtype));
    KvCache cache(kShape, {.blockTokens = 4, .maxBytes = 1 << 20, .dtype = dtype});
    CHECK_EQUAL(cache.self().blockBytes(), 2 * 3 * 2 * 4 * 8 * elementBytes);
    CHECK_EQUAL(cache.cross().blockBytes(), 2 * 3 * 1 * 4 * 8 * elementBytes);
    CHECK_EQUAL(cache.self().blocksFor(9), 3);
    CHECK_EQUAL(cache.self().layers().size(), 3u);
    CHECK_EQUAL(cache.self().layers()[0].keys.shape[1], 2);
    BlockTable self(cache.self().pool(), 4);
    BlockTable cross(cache.cross().pool(), 4);
    for (int i = 0; i < 5; ++i) self.append();
    cross.append();
    CHECK_EQUAL(cache.heldBytes(), 2 * cache.self().blockBytes() + cache.cross().blockBytes());
  }
}

WGQA_TEST(decodeCacheOfIntegersHasScalesBehindKeysAndValues) {
  KvCache cache(kShape, {.blockTokens = 4, .maxBytes = 1 << 20, .dtype = DType::int8});
  CHECK_EQUAL(cache.self().blockBytes(), 2 * 3 * 2 * 4 * (8 + 4));
  const LayerCache& layer = cache.self().layers()[1];
  const auto* keys = layer.keys.as<std::byte>();
  CHECK_EQUAL(layer.values.as<std::byte>() - keys, 2 * 4 * 8);
  CHECK_EQUAL(layer.keyScales.as<std::byte>() - keys, 2 * 2 * 4 * 8);
  CHECK_EQUAL(layer.valueScales.as<std::byte>() - keys, 2 * 2 * 4 * 8 + 2 * 4 * 4);
  CHECK_EQUAL(layer.keys.strides[0], 2 * 2 * 4 * (8 + 4));
  CHECK_EQUAL(layer.keyScales.strides[0], 2 * 2 * 4 * (8 + 4) / 4);
  // Scales would not be aligned.
  EncoderDecoder::CacheShape odd = kShape;
  odd.headDim = 7;
  CHECK_THROWS(ErrorCode::invalidArgument,
               KvCache(odd, {.blockTokens = 4, .maxBytes = 1 << 20, .dtype = DType::int8}));
}

WGQA_TEST(decodeCacheCopiesABlockInEveryLayer) {
  KvCache cache(kShape, {.blockTokens = 4, .maxBytes = 1 << 20, .dtype = DType::float32});
  const auto layers = cache.self().layers();
  constexpr std::int64_t kElements = 2 * 4 * 8;  // of a block in one layer
  const auto block = [&](const TensorView& side, std::int64_t id) {
    return side.as<float>() + id * side.strides[0];
  };
  for (std::size_t layer = 0; layer < layers.size(); ++layer) {
    for (std::int64_t i = 0; i < kElements; ++i) {
      block(layers[layer].keys, 5)[i] = static_cast<float>(1000 * layer + i);
      block(layers[layer].values, 5)[i] = -static_cast<float>(1000 * layer + i);
    }
  }
  const std::vector<std::int32_t> sources = {5, 5};
  const std::vector<std::int32_t> destinations = {7, 2};
  copyHostBlocks({cache.self().blocks(), sources, destinations});
  for (const LayerCache& layer : layers) {
    for (const TensorView& side : {layer.keys, layer.values}) {
      for (const std::int64_t id : {7, 2}) {
        CHECK(std::memcmp(block(side, id), block(side, 5), kElements * sizeof(float)) == 0);
      }
      CHECK_EQUAL(block(side, 6)[0], 0.0f);
    }
  }
}

WGQA_TEST(decodeCacheKeepsBothAttentionsInOneBudget) {
  // A cross block is half a self block; the budget is 8 self blocks.
  KvCache cache(kShape, {.blockTokens = 4, .maxBytes = 8 * 1536, .dtype = DType::float32});
  CHECK_EQUAL(cache.self().blockBytes(), 1536);
  {
    BlockTable self(cache.self().pool(), 4);
    for (int i = 0; i < 32; ++i) self.append();
    cache.prepareMemory();
    CHECK_EQUAL(cache.touchedBytes(), cache.maxBytes());
  }
  // Freed blocks are kept for reuse until the other attention needs the room.
  CHECK_EQUAL(cache.heldBytes(), 0);
  CHECK_EQUAL(cache.touchedBytes(), cache.maxBytes());
  BlockTable cross(cache.cross().pool(), 4);
  cross.append();
  cache.prepareMemory();
  CHECK_EQUAL(cache.touchedBytes(), cache.cross().blockBytes());
  cache.self().pool().checkInvariant();
}

WGQA_TEST(decodeCacheMemoryIsZeroAfterItWasGivenBack) {
  const EncoderDecoder::CacheShape pages{
      .layers = 2, .selfKvHeads = 16, .crossKvHeads = 16, .headDim = 64};
  KvCache cache(pages, {.blockTokens = 16, .maxBytes = 1 << 24, .dtype = DType::float32});
  const TensorView& values = cache.self().layers()[1].values;
  const auto first = [&](std::int32_t block) -> float& {
    return values.as<float>()[block * values.strides[0]];
  };
  const auto held = cache.self().pool().allocate();
  const auto freed = cache.self().pool().allocate();
  first(held) = 1.0f;
  first(freed) = 2.0f;
  cache.self().pool().release(freed);
  cache.self().giveBackFree();
  CHECK_EQUAL(first(held), 1.0f);
#ifdef __linux__
  CHECK_EQUAL(first(freed), 0.0f);
#endif
  cache.self().pool().release(held);
}

#ifdef __linux__
// The smallest block of any T5: one K/V head of 64 in bfloat16.
WGQA_TEST(decodeCacheGivesBackEachBlockByItself) {
  const EncoderDecoder::CacheShape multiQuery{
      .layers = 6, .selfKvHeads = 1, .crossKvHeads = 1, .headDim = 64};
  KvCache cache(multiQuery, {.blockTokens = 16, .maxBytes = 1 << 20, .dtype = DType::bfloat16});
  const auto wordOf = [&](const TensorView& side, std::int32_t block) -> BFloat16& {
    return side.as<BFloat16>()[block * side.strides[0]];
  };
  std::vector<std::int32_t> blocks;
  while (cache.makeRoom(1, 0)) {
    blocks.push_back(cache.self().pool().allocate());
    for (const LayerCache& layer : cache.self().layers()) {
      wordOf(layer.keys, blocks.back()) = wordOf(layer.values, blocks.back()) = toBFloat16(1.0f);
    }
  }
  for (std::size_t i = 0; i < blocks.size(); i += 2) cache.self().pool().release(blocks[i]);
  CHECK(cache.makeRoom(0, 1));
  const std::int32_t cross = cache.cross().pool().allocate();
  cache.prepareMemory();
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    for (const LayerCache& layer : cache.self().layers()) {
      const float expected = i % 2 == 0 ? 0.0f : 1.0f;
      CHECK_EQUAL(toFloat(wordOf(layer.keys, blocks[i])), expected);
      CHECK_EQUAL(toFloat(wordOf(layer.values, blocks[i])), expected);
    }
  }
  cache.cross().pool().release(cross);
  for (std::size_t i = 1; i < blocks.size(); i += 2) cache.self().pool().release(blocks[i]);
}
#endif

}  // namespace
}  // namespace wgqa
