// Storage of keys and values of all decoder layers, for self- and cross-attention, in one budget.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/dtype.h"
#include "decode/reserved_memory.h"
#include "kvcache/block_pool.h"
#include "kvcache/block_table.h"
#include "model/decode_step.h"

namespace wgqa {

/// Blocks of one attention: a pool of ids and, per layer, keys and values
/// [capacity, kvHeads, blockTokens, headDim] that take up memory once they are written.
class BlockStorage {
 public:
  BlockStorage(const BlockShape& shape, DType dtype, std::int64_t maxBytes);

  BlockPool& pool() { return pool_; }
  const BlockPool& pool() const { return pool_; }
  std::span<const LayerCache> layers() const { return layers_; }
  std::int64_t blockTokens() const { return shape_.blockTokens; }
  std::int64_t blockBytes() const { return shape_.bytes(); }
  std::int64_t blocksFor(std::int64_t tokens) const;
  std::int64_t inUseBytes() const { return pool_.inUse() * blockBytes(); }
  std::int64_t touchedBytes() const { return pool_.touched() * blockBytes(); }

  /// Copies whole blocks in all layers.
  void copy(std::span<const BlockCopy> copies);
  /// Gives the memory of free blocks back to the system (whole pages of them).
  void giveBackFree();

 private:
  void giveBack(std::int64_t firstBlock, std::int64_t blocks);

  BlockShape shape_;
  BlockPool pool_;
  std::int64_t sideBytes_;  // keys (or values) of one layer, in whole pages
  ReservedMemory memory_;
  std::vector<LayerCache> layers_;
};

struct KvCacheOptions {
  std::int64_t blockTokens = 16;
  std::int64_t maxBytes = 0;
  DType dtype = DType::float32;
};

/// The byte budget is shared: what is in use by both attentions never exceeds it, provided that
/// callers admit work by its bytes. Heads are the model's K/V heads: never replicated.
class KvCache {
 public:
  /// Throws ErrorCode::invalidArgument for a bad option or a budget below one block of each kind.
  KvCache(const EncoderDecoder::CacheShape& shape, const KvCacheOptions& options);

  BlockStorage& self() { return self_; }
  BlockStorage& cross() { return cross_; }
  const BlockStorage& self() const { return self_; }
  const BlockStorage& cross() const { return cross_; }

  std::int64_t maxBytes() const { return maxBytes_; }
  std::int64_t inUseBytes() const { return self_.inUseBytes() + cross_.inUseBytes(); }
  std::int64_t touchedBytes() const { return self_.touchedBytes() + cross_.touchedBytes(); }

  /// After blocks were allocated and before they are written: keeps memory of both attentions, with
  /// what is kept for reuse, inside the budget.
  void enforceBudget();

 private:
  std::int64_t maxBytes_;
  BlockStorage self_;
  BlockStorage cross_;
};

}  // namespace wgqa
