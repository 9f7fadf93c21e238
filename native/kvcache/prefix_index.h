// Finds full blocks by the tokens they hold, so that sequences with equal beginnings share them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <unordered_set>
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
  PrefixNode root;
  PrefixNode last;          // the node of the last known block, or the root
  std::int64_t blocks = 0;  // of the sequence's blocks, how many are known

  /// Of a sequence of which nothing is known yet.
  static PrefixChain at(PrefixNode root) { return {root, root, 0}; }
};

/// Keys and values of a token depend on all tokens before it, so a block's key is its tokens and
/// the node of the block before it. Keys are compared in full: no crafted prompt makes two prefixes
/// collide. A known block is kept by the pool when its last reference goes. Sequences drop their
/// blocks last to first, so a block is evicted before the one it hangs on; where it is not (the
/// sequence held a copy of its own of the one it hangs on), what hangs on an evicted block is
/// forgotten with it.
class PrefixIndex {
 public:
  PrefixIndex(BlockPool& pool, std::int64_t blockTokens)
      : pool_(pool), blockTokens_(static_cast<std::size_t>(blockTokens)) {}
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
  /// knows an equal prefix in another block, it keeps that one and the chain follows it. A chain
  /// whose nodes have been forgotten begins anew.
  void learn(PrefixChain& chain, std::span<const std::int32_t> tokens,
             std::span<const std::int32_t> blocks);

  /// Forgets the pool's oldest cached block and what hangs on it: it becomes free, and so does what
  /// is cached of the rest. False if none is cached.
  bool evictOldest();
  /// Forgets everything: cached blocks become free, referenced ones once their references go.
  void clear();

  std::int64_t size() const { return static_cast<std::int64_t>(nodes_.size()); }
  /// Throws ErrorCode::internal unless exactly the known blocks are kept and each one's parent is
  /// known or a root.
  void checkInvariant() const;

 private:
  struct Key {
    PrefixNode parent;
    std::span<const std::int32_t> tokens;
  };
  struct Node {
    std::uint64_t id = 0;
    PrefixNode parent;
    std::vector<std::int32_t> tokens;
    std::int32_t block = 0;
    std::vector<Node*> children;

    Key key() const { return {parent, tokens}; }
  };
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(const Key& key) const;
    std::size_t operator()(const std::unique_ptr<Node>& node) const { return (*this)(node->key()); }
  };
  struct Equal {
    using is_transparent = void;
    static Key keyOf(const Key& key) { return key; }
    static Key keyOf(const std::unique_ptr<Node>& node) { return node->key(); }
    template <typename A, typename B>
    bool operator()(const A& a, const B& b) const {
      const Key left = keyOf(a);
      const Key right = keyOf(b);
      return left.parent == right.parent && std::ranges::equal(left.tokens, right.tokens);
    }
  };

  std::span<const std::int32_t> blockOf(std::span<const std::int32_t> tokens,
                                        std::size_t block) const {
    return tokens.subspan(block * blockTokens_, blockTokens_);
  }
  bool isKnown(PrefixNode node) const { return node.isRoot || byId_.contains(node.id); }
  const Node& add(const Key& key, std::int32_t block);
  void forget(Node& node);

  BlockPool& pool_;
  std::size_t blockTokens_;
  std::uint64_t lastId_ = 0;
  std::unordered_set<std::unique_ptr<Node>, Hash, Equal> nodes_;
  std::unordered_map<std::uint64_t, Node*> byId_;
  std::unordered_map<std::int32_t, Node*> byBlock_;
};

}  // namespace wgqa
