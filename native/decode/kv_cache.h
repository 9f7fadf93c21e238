// Keys and values of all decoder layers, for self- and cross-attention, in one byte budget: their
// storage, and what of it later requests can use again.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/dtype.h"
#include "base/memory.h"
#include "kvcache/block_pool.h"
#include "kvcache/block_table.h"
#include "kvcache/prefix_index.h"
#include "kvcache/source_index.h"
#include "model/decode_step.h"

namespace wgqa {

/// Blocks of one attention: a pool of ids and, per layer, blocks of keys [kvHeads, headDim,
/// blockTokens] and behind them values [kvHeads, blockTokens, headDim], then in int8 the scales of
/// both. Layers may differ in their K/V heads. Blocks take up memory once they are written.
class BlockStorage {
 public:
  /// `shapes`: what a block holds of each layer.
  BlockStorage(std::span<const BlockShape> shapes, DType dtype, std::int64_t maxBytes,
               UseClock& clock, Memory& memory);

  BlockPool& pool() { return pool_; }
  const BlockPool& pool() const { return pool_; }
  std::span<const LayerCache> layers() const { return layers_; }
  std::int64_t blockTokens() const { return blockTokens_; }
  /// Of one block in all layers.
  std::int64_t blockBytes() const { return blockBytes_; }
  std::int64_t blocksFor(std::int64_t tokens) const;
  std::int64_t heldBytes() const { return pool_.held() * blockBytes(); }
  std::int64_t touchedBytes() const { return pool_.touched() * blockBytes(); }

  /// For CopyBlocks, [layers, blocks, bytes of a block in a layer]: one for all layers in which a
  /// block has so many bytes.
  std::span<const TensorView> blocks() const { return blocks_; }
  /// Has the memory of blocks that were allocated for the first time provided. Where writes provide
  /// it, too, but page by page and at several times the cost: a bounded part of it at a time.
  void fetchNew();
  /// Gives the memory of free blocks back to the system (whole pages of them).
  void giveBackFree();

 private:
  void layOut(std::span<const BlockShape> shapes, DType dtype, Memory& memory);
  void provide(std::span<std::int32_t> blocks);
  template <typename Visit>
  void forRuns(std::span<std::int32_t> blocks, const Visit& visit) const;

  std::int64_t blockTokens_;
  std::int64_t blockBytes_;
  BlockPool pool_;
  std::unique_ptr<Reservation> memory_;
  std::vector<std::int32_t> unprovided_;  // blocks whose memory may not be there yet
  std::vector<LayerCache> layers_;
  std::vector<TensorView> blocks_;
};

struct KvCacheOptions {
  std::int64_t blockTokens = 16;
  std::int64_t maxBytes = 0;
  DType dtype = DType::float32;
};

/// Blocks of one attention by state. Both attentions share one budget: what is free to one is free
/// to the other, too.
struct BlockCounts {
  std::int64_t free = 0;        // that the rest of the budget would make
  std::int64_t cached = 0;      // kept for later requests, evicted when room is needed
  std::int64_t referenced = 0;  // read by running requests
  std::int64_t bytesPerBlock = 0;
};

/// Everything held by both attentions, cached blocks included, stays inside the byte budget,
/// provided that callers make room before they allocate. Heads are the model's K/V heads: never
/// replicated.
class KvCache {
 public:
  /// Its blocks lie in `memory`. Throws ErrorCode::invalidArgument for a bad option or a budget
  /// below one block of each kind.
  KvCache(const EncoderDecoder::CacheShape& shape, const KvCacheOptions& options,
          Memory& memory = hostMemory());

  BlockStorage& self() { return self_; }
  BlockStorage& cross() { return cross_; }
  const BlockStorage& self() const { return self_; }
  const BlockStorage& cross() const { return cross_; }
  /// Full blocks of self-attention, under the root of their source.
  PrefixIndex& prefixes() { return prefixes_; }
  /// Cross-attention.
  SourceIndex& sources() { return sources_; }
  const SourceIndex& sources() const { return sources_; }

  std::int64_t maxBytes() const { return maxBytes_; }
  std::int64_t heldBytes() const { return self_.heldBytes() + cross_.heldBytes(); }
  std::int64_t touchedBytes() const { return self_.touchedBytes() + cross_.touchedBytes(); }
  BlockCounts selfCounts() const;
  BlockCounts crossCounts() const;

  /// Whether so many blocks fit beside what requests hold, all that is only cached evicted.
  bool canMakeRoom(std::int64_t selfBlocks, std::int64_t crossBlocks) const;
  /// Evicts what was used longest ago, of both attentions, until so many blocks can be allocated.
  /// False, and nothing evicted, if they cannot.
  bool makeRoom(std::int64_t selfBlocks, std::int64_t crossBlocks);
  /// Forgets all that is cached: the parameters have changed.
  void forgetCached();

  /// After blocks were allocated and before they are written: keeps memory of both attentions, with
  /// what is kept for reuse, inside the budget, and fetches that of blocks never used before.
  void prepareMemory();

  /// Throws ErrorCode::internal unless `selfTables` and the sources' tables are exactly the
  /// references, both pools and indices are sound, and the budget holds.
  void checkInvariant(std::span<const BlockTable* const> selfTables) const;

 private:
  bool hasRoom(std::int64_t selfBlocks, std::int64_t crossBlocks) const;
  void evictOldest();

  std::int64_t maxBytes_;
  UseClock clock_;
  BlockStorage self_;
  BlockStorage cross_;
  PrefixIndex prefixes_;
  SourceIndex sources_;
};

}  // namespace wgqa
