// Finds full blocks by the tokens they hold, so that sequences with equal beginnings share them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kvcache/block_pool.h"

namespace wgqa {

/// A place in the tree of known prefixes: what precedes a block. Roots stand for what a sequence
/// hangs on as a whole (T5: its source, whose number in SourceIndex it is); numbers are never
/// reused, so a stale one matches nothing.
struct PrefixNode {
  std::uint64_t id = 0;
  bool isRoot = true;
  bool operator==(const PrefixNode&) const = default;
};

/// How far a sequence's own blocks are known to the index.
struct PrefixChain {
  PrefixNode last;          // the node of the last known block, or the root
  std::int64_t blocks = 0;  // of the sequence's blocks, how many are known
};

/// Keys and values of a token depend on all tokens before it, so a block's key is its tokens and the
/// node of the block before it. Keys are compared in full: no crafted prompt makes two prefixes
/// collide. A known block is kept by the pool when its last reference goes; a block's parent is
/// never evicted before it.
class PrefixIndex {
 public:
  PrefixIndex(BlockPool& pool, std::int64_t blockTokens);
  ~PrefixIndex();
  PrefixIndex(const PrefixIndex&) = delete;
  PrefixIndex& operator=(const PrefixIndex&) = delete;

  struct Match {
    std::vector<std::int32_t> blocks;
    PrefixChain chain;
  };
  /// The longest known run of full blocks under `root` that spells the beginning of `tokens`.
  /// Nothing is retained.
  Match find(PrefixNode root, std::span<const std::int32_t> tokens) const;

  /// Makes the sequence's full blocks known that are not yet. `tokens` and `blocks` are the
  /// sequence's from its beginning; only whole blocks of `tokens` count. Where the index already
  /// knows an equal prefix in another block, it keeps that one and the chain follows it.
  void learn(PrefixChain& chain, std::span<const std::int32_t> tokens,
             std::span<const std::int32_t> blocks);

  /// Forgets the pool's oldest cached block, which becomes free. False if none is cached.
  bool evictOldest();
  /// Forgets everything: cached blocks become free, referenced ones once their references go.
  void clear();

  std::int64_t size() const;
  /// Throws ErrorCode::internal unless exactly the known blocks are kept and each one's parent is
  /// known or a root.
  void checkInvariant() const;
};

}  // namespace wgqa
