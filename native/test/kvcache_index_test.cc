// What the cache keeps for later requests: prefixes by their tokens, sources by theirs.
#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "kvcache/block_pool.h"
#include "kvcache/block_table.h"
#include "kvcache/prefix_index.h"
#include "kvcache/source_index.h"
#include "test/harness.h"

namespace wgqa {
namespace {

using Tokens = std::vector<std::int32_t>;

constexpr std::int64_t kBlockTokens = 2;
constexpr PrefixNode kRoot{.id = 7, .isRoot = true};

struct Prefixes {
  UseClock clock;
  BlockPool pool{16, clock};
  PrefixIndex index{pool, kBlockTokens};

  /// A sequence that fed `tokens` under `root` and told the index.
  BlockTable learned(const Tokens& tokens, PrefixNode root = kRoot) {
    BlockTable table(pool, kBlockTokens);
    table.chain() = PrefixChain::at(root);
    for (std::size_t i = 0; i < tokens.size(); ++i) table.append();
    index.learn(table.chain(), tokens, table.blocks());
    return table;
  }
  void check() const {
    pool.checkInvariant();
    index.checkInvariant();
  }
};

WGQA_TEST(kvcachePrefixesAreFoundByTheirTokens) {
  Prefixes p;
  const BlockTable table = p.learned({1, 2, 3, 4, 5});
  CHECK_EQUAL(p.index.size(), 2);
  const auto whole = p.index.find(kRoot, Tokens{1, 2, 3, 4, 9, 9});
  CHECK(std::ranges::equal(whole.blocks, table.blocks().first(2)));
  CHECK_EQUAL(whole.chain.blocks, 2);
  CHECK_EQUAL(p.index.find(kRoot, Tokens{1, 2, 3}).blocks.size(), 1u);
  CHECK_EQUAL(p.index.find(kRoot, Tokens{1, 2, 4, 3}).blocks.size(), 1u);
  CHECK(p.index.find(kRoot, Tokens{1}).blocks.empty());
  CHECK(p.index.find(kRoot, Tokens{3, 4}).blocks.empty());
  CHECK(p.index.find({.id = 8, .isRoot = true}, Tokens{1, 2}).blocks.empty());
  // A root's number is another thing than a block's.
  CHECK(p.index.find({.id = 1, .isRoot = true}, Tokens{3, 4}).blocks.empty());
  p.check();
}

WGQA_TEST(kvcachePrefixesOutliveTheirSequences) {
  Prefixes p;
  { const BlockTable table = p.learned({1, 2, 3, 4, 5}); }
  CHECK_EQUAL(p.pool.cached(), 2);
  CHECK_EQUAL(p.pool.referenced(), 0);
  BlockTable adopted(p.pool, kBlockTokens);
  adopted.adopt(p.index.find(kRoot, Tokens{1, 2, 3, 4}));
  CHECK_EQUAL(adopted.length(), 4);
  CHECK_EQUAL(p.pool.cached(), 0);
  // The sequence goes on, and is known further.
  adopted.append();
  adopted.append();
  p.index.learn(adopted.chain(), Tokens{1, 2, 3, 4, 7, 8}, adopted.blocks());
  CHECK_EQUAL(p.index.find(kRoot, Tokens{1, 2, 3, 4, 7, 8}).blocks.size(), 3u);
  p.check();
}

WGQA_TEST(kvcachePrefixesAreEvictedFromTheirEnds) {
  Prefixes p;
  { const BlockTable table = p.learned({1, 2, 3, 4, 5, 6}); }
  for (const std::size_t left : {2u, 1u, 0u}) {
    CHECK(p.index.evictOldest());
    CHECK_EQUAL(p.index.find(kRoot, Tokens{1, 2, 3, 4, 5, 6}).blocks.size(), left);
    p.check();
  }
  CHECK(!p.index.evictOldest());
  CHECK_EQUAL(p.pool.free(), 16);
}

WGQA_TEST(kvcachePrefixesOfTwoSequencesAreKeptOnce) {
  Prefixes p;
  const BlockTable first = p.learned({1, 2, 3, 4});
  BlockTable second = p.learned({1, 2, 3, 4});
  CHECK_EQUAL(p.index.size(), 2);
  CHECK(std::ranges::equal(p.index.find(kRoot, Tokens{1, 2, 3, 4}).blocks, first.blocks()));
  second.clear();
  CHECK_EQUAL(p.pool.cached(), 0);
  p.check();
}

WGQA_TEST(kvcachePrefixesGoWithWhatTheyHangOn) {
  Prefixes p;
  BlockTable first = p.learned({1, 2});
  // Holds a copy of its own of the first block, and hangs its second on the known one.
  BlockTable second = p.learned({1, 2, 3, 4});
  first.clear();
  CHECK(p.index.evictOldest());
  CHECK_EQUAL(p.index.size(), 0);
  p.check();
  // Its chain is stale: it begins anew, with its own blocks.
  second.append();
  second.append();
  p.index.learn(second.chain(), Tokens{1, 2, 3, 4, 5, 6}, second.blocks());
  CHECK(std::ranges::equal(p.index.find(kRoot, Tokens{1, 2, 3, 4, 5, 6}).blocks, second.blocks()));
  p.check();
}

WGQA_TEST(kvcachePrefixesCanBeForgotten) {
  Prefixes p;
  const BlockTable held = p.learned({1, 2});
  { const BlockTable cached = p.learned({3, 4}); }
  p.index.clear();
  CHECK_EQUAL(p.index.size(), 0);
  CHECK_EQUAL(p.pool.cached(), 0);
  CHECK_EQUAL(p.pool.referenced(), 1);
  CHECK(p.index.find(kRoot, Tokens{1, 2}).blocks.empty());
  p.check();
}

WGQA_TEST(kvcacheASharedPrefixKeepsItsChain) {
  Prefixes p;
  const BlockTable parent = p.learned({1, 2, 3, 4, 5, 6});
  BlockTable child(p.pool, kBlockTokens);
  child.sharePrefixFrom(parent, 4);
  CHECK(child.chain().root == kRoot);
  child.append();
  child.append();
  p.index.learn(child.chain(), Tokens{1, 2, 3, 4, 8, 9}, child.blocks());
  CHECK_EQUAL(child.chain().blocks, 3);
  CHECK(std::ranges::equal(p.index.find(kRoot, Tokens{1, 2, 3, 4, 8, 9}).blocks, child.blocks()));
  p.check();
}

struct Sources {
  UseClock clock;
  BlockPool pool{16, clock};
  SourceIndex index{pool, kBlockTokens, clock};

  SourceUse ready(const Tokens& ids) {
    SourceUse use = index.add(ids);
    use->isReady = true;
    return use;
  }
  void check() const {
    pool.checkInvariant();
    index.checkInvariant();
    std::vector<const BlockTable*> tables;
    index.collectTables(tables);
    checkInvariant(pool, tables);
  }
};

WGQA_TEST(kvcacheASourceIsSharedByItsTokens) {
  Sources s;
  CHECK(!s.index.find(Tokens{1, 2, 3}));
  const SourceUse first = s.index.add(Tokens{1, 2, 3});
  CHECK_EQUAL(first->table.length(), 3);
  CHECK(!first->isReady);
  const SourceUse second = s.index.find(Tokens{1, 2, 3});
  CHECK(&*first == &*second);
  CHECK(!s.index.find(Tokens{1, 2}));
  CHECK_THROWS(ErrorCode::internal, s.index.add(Tokens{1, 2, 3}));
  CHECK(s.index.add(Tokens{1, 2})->root != first->root);
  CHECK_EQUAL(s.pool.referenced(), 2);
  s.check();
}

WGQA_TEST(kvcacheAReadySourceStaysAndTheLongestIdleGoesFirst) {
  Sources s;
  s.ready({1});
  s.ready({2});
  CHECK_EQUAL(s.index.idleBlocks(), 2);
  s.index.find(Tokens{1}).reset();  // used again
  CHECK(s.index.evictOldest());
  CHECK(!s.index.find(Tokens{2}));
  {
    const SourceUse use = s.index.find(Tokens{1});
    CHECK(use && use->isReady);
    CHECK_EQUAL(s.index.idleBlocks(), 0);
    CHECK(!s.index.hasIdle());
    CHECK(!s.index.evictOldest());
  }
  s.check();
  CHECK(s.index.evictOldest());
  CHECK_EQUAL(s.pool.free(), 16);
}

WGQA_TEST(kvcacheASourceThatWasNeverReadyGoesWithItsLastUser) {
  Sources s;
  SourceUse first = s.index.add(Tokens{1, 2, 3});
  SourceUse second = s.index.find(Tokens{1, 2, 3});
  first.reset();
  CHECK_EQUAL(s.pool.referenced(), 2);
  s.check();
  const SourceUse moved = std::move(second);
  CHECK(!second);
  CHECK(static_cast<bool>(moved));
  s.check();
  SourceUse last = s.index.find(Tokens{1, 2, 3});
  last = SourceUse();
  CHECK_EQUAL(s.pool.referenced(), 2);
}

WGQA_TEST(kvcacheForgottenSourcesGoWithTheirUsers) {
  Sources s;
  s.ready({1});
  SourceUse old = s.ready({2});
  s.index.clear();
  CHECK_EQUAL(s.pool.referenced(), 1);
  CHECK(!s.index.find(Tokens{2}));
  {
    const SourceUse anew = s.ready({2});
    CHECK(&*anew != &*old);
    CHECK(anew->root != old->root);
    s.check();
  }
  old.reset();
  CHECK_EQUAL(s.index.idleBlocks(), 1);
  CHECK_EQUAL(s.pool.referenced(), 1);
  s.check();
}

}  // namespace
}  // namespace wgqa
