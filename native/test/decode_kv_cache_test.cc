// Storage of the cache: bytes, copies and the budget.
#include <cstring>
#include <span>
#include <vector>

#include "decode/kv_cache.h"
#include "test/harness.h"

namespace wgqa {
namespace {

EncoderDecoder::CacheShape threeLayers() {
  return {.selfKvHeads = {2, 2, 2}, .crossKvHeads = {1, 1, 1}, .headDim = 8};
}

EncoderDecoder::CacheShape differentLayers() {
  return {.selfKvHeads = {4, 1, 2}, .crossKvHeads = {1, 3, 1}, .headDim = 8};
}

/// The bytes of one block in each tensor of each layer.
std::vector<std::span<std::byte>> partsOf(const BlockStorage& storage, std::int32_t block) {
  std::vector<std::span<std::byte>> parts;
  for (const LayerCache& layer : storage.layers()) {
    for (const TensorView& part : {layer.keys, layer.values, layer.keyScales, layer.valueScales}) {
      if (!part.given()) continue;
      const auto elementBytes = static_cast<std::int64_t>(bytesOf(part.dtype));
      parts.emplace_back(part.as<std::byte>() + block * part.strides[0] * elementBytes,
                         static_cast<std::size_t>(part.bytes() / part.shape[0]));
    }
  }
  return parts;
}

/// A value for each byte of a block in all its parts, other ones for another `content`.
std::byte byteOf(std::int64_t content, std::int64_t place) {
  return static_cast<std::byte>((content * 89 + place * 13 + place / 256 * 7 + 1) % 251);
}

void fill(const BlockStorage& storage, std::int32_t block, std::int64_t content) {
  std::int64_t place = 0;
  for (const auto part : partsOf(storage, block)) {
    for (std::byte& byte : part) byte = byteOf(content, place++);
  }
}

bool holds(const BlockStorage& storage, std::int32_t block, std::int64_t content) {
  std::int64_t place = 0;
  for (const auto part : partsOf(storage, block)) {
    for (const std::byte byte : part) {
      if (byte != byteOf(content, place++)) return false;
    }
  }
  return true;
}

/// As the engine does.
void copyIn(const BlockStorage& storage, const std::vector<std::int32_t>& sources,
            const std::vector<std::int32_t>& destinations) {
  for (const TensorView& blocks : storage.blocks()) {
    copyHostBlocks({blocks, sources, destinations});
  }
}

WGQA_TEST(decodeCacheBytesFollowTheFormula) {
  for (const DType dtype : {DType::float32, DType::bfloat16}) {
    const auto elementBytes = static_cast<std::int64_t>(bytesOf(dtype));
    KvCache cache(threeLayers(), {.blockTokens = 4, .maxBytes = 1 << 20, .dtype = dtype});
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
  KvCache cache(threeLayers(), {.blockTokens = 4, .maxBytes = 1 << 20, .dtype = DType::int8});
  CHECK_EQUAL(cache.self().blockBytes(), 2 * 3 * 2 * 4 * (8 + 4));
  const LayerCache& layer = cache.self().layers()[1];
  const auto* keys = layer.keys.as<std::byte>();
  CHECK_EQUAL(layer.values.as<std::byte>() - keys, 2 * 4 * 8);
  CHECK_EQUAL(layer.keyScales.as<std::byte>() - keys, 2 * 2 * 4 * 8);
  CHECK_EQUAL(layer.valueScales.as<std::byte>() - keys, 2 * 2 * 4 * 8 + 2 * 4 * 4);
  CHECK_EQUAL(layer.keys.strides[0], 2 * 2 * 4 * (8 + 4));
  CHECK_EQUAL(layer.keyScales.strides[0], 2 * 2 * 4 * (8 + 4) / 4);
  // Scales would not be aligned.
  EncoderDecoder::CacheShape odd = threeLayers();
  odd.headDim = 7;
  CHECK_THROWS(ErrorCode::invalidArgument,
               KvCache(odd, {.blockTokens = 4, .maxBytes = 1 << 20, .dtype = DType::int8}));
}

WGQA_TEST(decodeCacheCopiesABlockInEveryLayer) {
  KvCache cache(threeLayers(), {.blockTokens = 4, .maxBytes = 1 << 20, .dtype = DType::float32});
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
  CHECK_EQUAL(cache.self().blocks().size(), 1u);
  copyIn(cache.self(), sources, destinations);
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
  KvCache cache(threeLayers(), {.blockTokens = 4, .maxBytes = 8 * 1536, .dtype = DType::float32});
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
      .selfKvHeads = {16, 16}, .crossKvHeads = {16, 16}, .headDim = 64};
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

WGQA_TEST(decodeCacheBytesAreTheSumOverLayersThatDiffer) {
  for (const DType dtype : {DType::float32, DType::bfloat16, DType::int8}) {
    const std::int64_t scaleBytes = dtype == DType::int8 ? 4 : 0;
    const std::int64_t headBytes = 8 * static_cast<std::int64_t>(bytesOf(dtype)) + scaleBytes;
    KvCache cache(differentLayers(), {.blockTokens = 4, .maxBytes = 1 << 20, .dtype = dtype});
    CHECK_EQUAL(cache.self().blockBytes(), 2 * (4 + 1 + 2) * 4 * headBytes);
    CHECK_EQUAL(cache.cross().blockBytes(), 2 * (1 + 3 + 1) * 4 * headBytes);
    CHECK_EQUAL(cache.self().pool().capacity(), (1 << 20) / cache.self().blockBytes());
    for (const std::size_t layer : {0, 1, 2}) {
      CHECK_EQUAL(cache.self().layers()[layer].keys.shape[1], differentLayers().selfKvHeads[layer]);
      CHECK_EQUAL(cache.cross().layers()[layer].values.shape[1],
                  differentLayers().crossKvHeads[layer]);
    }
    // A copy takes layers of equal blocks together, neighbours or not.
    CHECK_EQUAL(cache.self().blocks().size(), 3u);
    CHECK_EQUAL(cache.cross().blocks().size(), 2u);
    CHECK_EQUAL(cache.cross().blocks()[0].shape[0], 2);
    CHECK_EQUAL(cache.cross().blocks()[1].shape[0], 1);
  }
}

WGQA_TEST(decodeCacheKeepsBlocksOfLayersThatDifferApart) {
  for (const DType dtype : {DType::float32, DType::bfloat16, DType::int8}) {
    KvCache cache(differentLayers(), {.blockTokens = 4, .maxBytes = 1 << 17, .dtype = dtype});
    BlockStorage& storage = cache.self();
    std::vector<std::int32_t> blocks;
    while (cache.makeRoom(1, 0)) blocks.push_back(storage.pool().allocate());
    CHECK_EQUAL(std::ssize(blocks), storage.pool().capacity());
    cache.prepareMemory();
    for (const std::int32_t block : blocks) fill(storage, block, block);
    copyIn(storage, {blocks[3], blocks[3], blocks.back()}, {blocks[0], blocks[5], blocks[6]});
    const auto contentOf = [&](std::size_t i) {
      return i == 0 || i == 5 ? blocks[3] : i == 6 ? blocks.back() : blocks[i];
    };
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      CHECK(holds(storage, blocks[i], contentOf(i)));
    }
    // Runs of free blocks, so that whole pages are among them, beside blocks in use.
    const auto isFreed = [&](std::size_t i) { return i % 16 > 2; };
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      if (isFreed(i)) storage.pool().release(blocks[i]);
    }
    storage.giveBackFree();
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      if (isFreed(i)) continue;
      CHECK(holds(storage, blocks[i], contentOf(i)));
      storage.pool().release(blocks[i]);
    }
  }
}

WGQA_TEST(decodeCacheRefusesAShapeWithoutHeadsInALayer) {
  const KvCacheOptions options{.blockTokens = 4, .maxBytes = 1 << 20};
  EncoderDecoder::CacheShape shape = differentLayers();
  shape.crossKvHeads[1] = 0;
  CHECK_THROWS(ErrorCode::internal, KvCache(shape, options));
  shape.crossKvHeads.pop_back();
  shape.crossKvHeads[1] = 3;
  CHECK_THROWS(ErrorCode::internal, KvCache(shape, options));
  CHECK_THROWS(ErrorCode::internal,
               KvCache({.selfKvHeads = {}, .crossKvHeads = {}, .headDim = 8}, options));
}

#ifdef __linux__
// A block of one K/V head of 64 in bfloat16, the smallest of any T5, is a page.
void checkGivesBackEachBlockByItself(const EncoderDecoder::CacheShape& shape) {
  KvCache cache(shape, {.blockTokens = 16, .maxBytes = 1 << 20, .dtype = DType::bfloat16});
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

WGQA_TEST(decodeCacheGivesBackEachBlockByItself) {
  const std::vector<std::int64_t> multiQuery(6, 1);
  checkGivesBackEachBlockByItself(
      {.selfKvHeads = multiQuery, .crossKvHeads = multiQuery, .headDim = 64});
  checkGivesBackEachBlockByItself(
      {.selfKvHeads = {4, 1, 2, 1}, .crossKvHeads = {1, 1, 3, 1}, .headDim = 64});
}
#endif

}  // namespace
}  // namespace wgqa
