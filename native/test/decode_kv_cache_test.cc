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

WGQA_TEST(decodeCacheCopiesABlockInEveryLayer) {
  KvCache cache(kShape, {.blockTokens = 4, .maxBytes = 1 << 20, .dtype = DType::float32});
  const auto layers = cache.self().layers();
  constexpr std::int64_t kElements = 2 * 4 * 8;  // of a block in one layer
  const auto block = [&](const TensorView& side, std::int64_t id) {
    return side.as<float>() + id * kElements;
  };
  for (std::size_t layer = 0; layer < layers.size(); ++layer) {
    for (std::int64_t i = 0; i < kElements; ++i) {
      block(layers[layer].keys, 5)[i] = static_cast<float>(1000 * layer + i);
      block(layers[layer].values, 5)[i] = -static_cast<float>(1000 * layer + i);
    }
  }
  const std::vector<BlockCopy> copies = {{5, 7}, {5, 2}};
  cache.self().copy(copies);
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
    cache.enforceBudget();
    CHECK_EQUAL(cache.touchedBytes(), cache.maxBytes());
  }
  // Freed blocks are kept for reuse until the other attention needs the room.
  CHECK_EQUAL(cache.heldBytes(), 0);
  CHECK_EQUAL(cache.touchedBytes(), cache.maxBytes());
  BlockTable cross(cache.cross().pool(), 4);
  cross.append();
  cache.enforceBudget();
  CHECK_EQUAL(cache.touchedBytes(), cache.cross().blockBytes());
  cache.self().pool().checkInvariant();
}

WGQA_TEST(decodeCacheMemoryIsZeroAfterItWasGivenBack) {
  const EncoderDecoder::CacheShape pages{
      .layers = 2, .selfKvHeads = 16, .crossKvHeads = 16, .headDim = 64};
  KvCache cache(pages, {.blockTokens = 16, .maxBytes = 1 << 24, .dtype = DType::float32});
  float* first = cache.self().layers()[1].values.as<float>();
  const auto held = cache.self().pool().allocate();
  const auto freed = cache.self().pool().allocate();
  constexpr std::int64_t kElements = 16 * 16 * 64;
  first[held * kElements] = 1.0f;
  first[freed * kElements] = 2.0f;
  cache.self().pool().release(freed);
  cache.self().giveBackFree();
  CHECK_EQUAL(first[held * kElements], 1.0f);
#ifdef __linux__
  CHECK_EQUAL(first[freed * kElements], 0.0f);
#endif
  cache.self().pool().release(held);
}

}  // namespace
}  // namespace wgqa
