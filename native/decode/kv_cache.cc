#include "decode/kv_cache.h"

#include <algorithm>
#include <limits>
#include <map>
#include <string>

#include "base/error.h"

namespace wgqa {
namespace {

constexpr std::int64_t kMaxBlockTokens = 4096;
constexpr std::int64_t kMaxBlocks = std::numeric_limits<std::int32_t>::max();
constexpr std::int64_t kFetchBytes = 4 << 20;  // 1 to 4 ms

// What a block holds of each layer.
std::vector<BlockShape> blockShapes(std::span<const std::int64_t> kvHeads, std::int64_t headDim,
                                    const KvCacheOptions& options) {
  std::vector<BlockShape> shapes;
  for (const std::int64_t heads : kvHeads) {
    shapes.push_back(
        {.kvHeads = heads,
         .blockTokens = options.blockTokens,
         .headDim = headDim,
         .elementBytes = static_cast<std::int64_t>(bytesOf(options.dtype)),
         .scaleBytes = options.dtype == DType::int8 ? std::int64_t{sizeof(float)} : 0});
  }
  return shapes;
}

std::int64_t bytesOfLayers(std::span<const BlockShape> shapes) {
  std::int64_t bytes = 0;
  for (const BlockShape& shape : shapes) bytes += shape.bytes();
  return bytes;
}

// Part of every block, `offset` bytes behind where it begins.
TensorView partOfBlocks(std::byte* blocks, const BlockShape& shape, std::int64_t offset,
                        DType dtype, std::initializer_list<std::int64_t> dimensions) {
  TensorView view(blocks + offset, dtype, dimensions);
  view.strides[0] = shape.bytes() / static_cast<std::int64_t>(bytesOf(dtype));
  return view;
}

LayerCache layerCache(std::byte* blocks, const BlockShape& shape, DType dtype, std::int64_t count) {
  const std::int64_t side = shape.bytesPerSide();
  LayerCache cache{.keys = partOfBlocks(blocks, shape, 0, dtype,
                                        {count, shape.kvHeads, shape.headDim, shape.blockTokens}),
                   .values = partOfBlocks(blocks, shape, side, dtype,
                                          {count, shape.kvHeads, shape.blockTokens, shape.headDim}),
                   .keyScales = {},
                   .valueScales = {}};
  if (shape.scaleBytes == 0) return cache;
  const auto scales = [&](std::int64_t offset) {
    return partOfBlocks(blocks, shape, 2 * side + offset, DType::float32,
                        {count, shape.kvHeads, shape.blockTokens});
  };
  cache.keyScales = scales(0);
  cache.valueScales = scales(shape.scaleBytesPerSide());
  return cache;
}

// Whole pages, so that no page holds parts of two layers.
std::int64_t roundUpToPages(std::int64_t bytes, const Memory& memory) {
  const auto page = static_cast<std::int64_t>(memory.pageBytes());
  return (bytes + page - 1) / page * page;
}

void checkShape(const EncoderDecoder::CacheShape& shape) {
  const auto arePositive = [](std::span<const std::int64_t> sizes) {
    return std::ranges::all_of(sizes, [](std::int64_t size) { return size > 0; });
  };
  require(!shape.selfKvHeads.empty() && shape.selfKvHeads.size() == shape.crossKvHeads.size(),
          "the model's attentions have no layers, or not equally many");
  require(arePositive(shape.selfKvHeads) && arePositive(shape.crossKvHeads) && shape.headDim > 0,
          "the model's cache shape has a size that is not positive");
}

/// Returns the budget, or throws.
std::int64_t checkedBudget(const EncoderDecoder::CacheShape& shape, const KvCacheOptions& options) {
  checkShape(shape);
  if (options.blockTokens < 1 || options.blockTokens > kMaxBlockTokens) {
    throw invalidArgument("blockTokens", "an integer from 1 to " + std::to_string(kMaxBlockTokens),
                          std::to_string(options.blockTokens));
  }
  if (options.dtype == DType::int32) {
    throw invalidArgument("cacheDtype", "'float32', 'float16', 'bfloat16' or 'int8'",
                          std::string(dtypeName(options.dtype)));
  }
  if (options.dtype == DType::int8 && shape.headDim % 2 != 0) {
    throw invalidArgument(
        "cacheDtype", "'float32', 'float16' or 'bfloat16' where the size of a head is odd", "int8");
  }
  const std::int64_t least = bytesOfLayers(blockShapes(shape.selfKvHeads, shape.headDim, options)) +
                             bytesOfLayers(blockShapes(shape.crossKvHeads, shape.headDim, options));
  if (options.maxBytes < least) {
    throw invalidArgument("kvCache.maxBytes",
                          "at least " + std::to_string(least) + " (a block of each attention)",
                          std::to_string(options.maxBytes));
  }
  return options.maxBytes;
}

}  // namespace

BlockStorage::BlockStorage(std::span<const BlockShape> shapes, DType dtype, std::int64_t maxBytes,
                           UseClock& clock, Memory& memory)
    : blockTokens_(shapes.front().blockTokens),
      blockBytes_(bytesOfLayers(shapes)),
      pool_(std::min(maxBytes / blockBytes_, kMaxBlocks), clock) {
  layOut(shapes, dtype, memory);
}

// All blocks of a layer lie together. Layers with blocks of one size are neighbours, so that one
// copy takes a block of all of them.
void BlockStorage::layOut(std::span<const BlockShape> shapes, DType dtype, Memory& memory) {
  const std::int64_t count = pool_.capacity();
  const auto layerBytes = [&](std::int64_t bytes) { return roundUpToPages(count * bytes, memory); };
  std::map<std::int64_t, std::vector<std::size_t>> layersBySize;
  std::int64_t total = 0;
  for (std::size_t layer = 0; layer < shapes.size(); ++layer) {
    layersBySize[shapes[layer].bytes()].push_back(layer);
    total += layerBytes(shapes[layer].bytes());
  }
  memory_ = memory.reserve(static_cast<std::size_t>(total));
  layers_.resize(shapes.size());
  std::byte* next = memory_->data();
  for (const auto& [bytes, layers] : layersBySize) {
    blocks_.push_back({next, DType::int8, {std::ssize(layers), count, bytes}});
    blocks_.back().strides[0] = layerBytes(bytes);
    for (const std::size_t layer : layers) {
      layers_[layer] = layerCache(next, shapes[layer], dtype, count);
      next += layerBytes(bytes);
    }
  }
}

std::int64_t BlockStorage::blocksFor(std::int64_t tokens) const {
  return (tokens + blockTokens_ - 1) / blockTokens_;
}

void BlockStorage::fetchNew() {
  for (const std::int32_t block : pool_.takeNewlyTouched()) unprovided_.push_back(block);
  std::size_t count = unprovided_.size();
  if (memory_->providesOnWrite()) {
    const std::int64_t most = std::max<std::int64_t>(kFetchBytes / blockBytes_, 1);
    count = std::min(count, static_cast<std::size_t>(most));
  }
  if (count == 0) return;
  provide(std::span(unprovided_).first(count));
  unprovided_.erase(unprovided_.begin(), unprovided_.begin() + static_cast<std::ptrdiff_t>(count));
}

void BlockStorage::provide(std::span<std::int32_t> blocks) {
  forRuns(blocks, [&](std::int64_t offset, std::int64_t bytes) {
    memory_->provide(static_cast<std::size_t>(offset), static_cast<std::size_t>(bytes));
  });
}

void BlockStorage::giveBackFree() {
  std::vector<std::int32_t> blocks = pool_.forgetFree();
  forRuns(blocks, [&](std::int64_t offset, std::int64_t bytes) {
    memory_->giveBack(static_cast<std::size_t>(offset), static_cast<std::size_t>(bytes));
  });
}

// Calls visit(offset, bytes) for each run of neighbours among the blocks, in each layer: a page may
// span several blocks. Sorts them.
template <typename Visit>
void BlockStorage::forRuns(std::span<std::int32_t> blocks, const Visit& visit) const {
  std::ranges::sort(blocks);
  for (std::size_t begin = 0; begin < blocks.size();) {
    std::size_t end = begin + 1;
    while (end < blocks.size() && blocks[end] == blocks[end - 1] + 1) ++end;
    for (const TensorView& layers : blocks_) {
      const std::int64_t bytes = layers.shape[2];
      const std::int64_t offset = layers.as<std::byte>() - memory_->data();
      for (std::int64_t layer = 0; layer < layers.shape[0]; ++layer) {
        visit(offset + layer * layers.strides[0] + blocks[begin] * bytes,
              static_cast<std::int64_t>(end - begin) * bytes);
      }
    }
    begin = end;
  }
}

KvCache::KvCache(const EncoderDecoder::CacheShape& shape, const KvCacheOptions& options,
                 Memory& memory)
    : maxBytes_(checkedBudget(shape, options)),
      self_(blockShapes(shape.selfKvHeads, shape.headDim, options), options.dtype, maxBytes_,
            clock_, memory),
      cross_(blockShapes(shape.crossKvHeads, shape.headDim, options), options.dtype, maxBytes_,
             clock_, memory),
      prefixes_(self_.pool(), options.blockTokens),
      sources_(cross_.pool(), options.blockTokens, clock_) {}

BlockCounts KvCache::selfCounts() const {
  return {.free = (maxBytes_ - heldBytes()) / self_.blockBytes(),
          .cached = self_.pool().cached(),
          .referenced = self_.pool().referenced(),
          .bytesPerBlock = self_.blockBytes()};
}

BlockCounts KvCache::crossCounts() const {
  return {.free = (maxBytes_ - heldBytes()) / cross_.blockBytes(),
          .cached = sources_.idleBlocks(),
          .referenced = cross_.pool().referenced() - sources_.idleBlocks(),
          .bytesPerBlock = cross_.blockBytes()};
}

bool KvCache::hasRoom(std::int64_t selfBlocks, std::int64_t crossBlocks) const {
  const std::int64_t bytes =
      selfBlocks * self_.blockBytes() + crossBlocks * cross_.blockBytes() + heldBytes();
  return bytes <= maxBytes_ && selfBlocks <= self_.pool().free() &&
         crossBlocks <= cross_.pool().free();
}

bool KvCache::canMakeRoom(std::int64_t selfBlocks, std::int64_t crossBlocks) const {
  return hasRoom(selfBlocks - self_.pool().cached(), crossBlocks - sources_.idleBlocks());
}

bool KvCache::makeRoom(std::int64_t selfBlocks, std::int64_t crossBlocks) {
  if (!canMakeRoom(selfBlocks, crossBlocks)) return false;
  while (!hasRoom(selfBlocks, crossBlocks)) evictOldest();
  return true;
}

void KvCache::evictOldest() {
  const bool hasBlock = self_.pool().cached() > 0;
  const bool takesBlock = hasBlock && (!sources_.hasIdle() ||
                                       self_.pool().oldestCachedUse() < sources_.oldestIdleUse());
  const bool evicted = takesBlock ? prefixes_.evictOldest() : sources_.evictOldest();
  require(evicted, "the cache has nothing left to evict");
}

void KvCache::forgetCached() {
  prefixes_.clear();
  sources_.clear();
}

void KvCache::prepareMemory() {
  if (touchedBytes() > maxBytes_) {
    self_.giveBackFree();
    cross_.giveBackFree();
  }
  self_.fetchNew();
  cross_.fetchNew();
}

void KvCache::checkInvariant(std::span<const BlockTable* const> selfTables) const {
  wgqa::checkInvariant(self_.pool(), selfTables);
  prefixes_.checkInvariant();
  std::vector<const BlockTable*> crossTables;
  sources_.collectTables(crossTables);
  wgqa::checkInvariant(cross_.pool(), crossTables);
  sources_.checkInvariant();
  require(heldBytes() <= maxBytes_, "the cache holds more than its budget");
}

}  // namespace wgqa
