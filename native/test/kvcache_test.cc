// The block pool and block tables.
#include <algorithm>
#include <cstdint>
#include <span>

#include "kvcache/block_pool.h"
#include "kvcache/block_table.h"
#include "test/harness.h"

namespace wgqa {
namespace {

WGQA_TEST(kvcacheBlockBytesFollowTheFormula) {
  const BlockShape shape{.kvHeads = 3, .blockTokens = 16, .headDim = 64, .elementBytes = 2};
  CHECK_EQUAL(shape.bytes(), 2 * 3 * 16 * 64 * 2);
  const BlockShape multiHead{.kvHeads = 12, .blockTokens = 16, .headDim = 64, .elementBytes = 2};
  CHECK_EQUAL(multiHead.bytes(), 4 * shape.bytes());
}

WGQA_TEST(kvcachePoolCountsReferences) {
  UseClock clock;
  BlockPool pool(2, clock);
  const std::int32_t a = pool.allocate();
  const std::int32_t b = pool.allocate();
  CHECK(a != b);
  CHECK_THROWS(ErrorCode::internal, pool.allocate());
  pool.retain(a);
  pool.release(a);
  CHECK_EQUAL(pool.referenced(), 2);
  pool.release(a);
  CHECK_EQUAL(pool.free(), 1);
  CHECK_THROWS(ErrorCode::internal, pool.release(a));
  CHECK_THROWS(ErrorCode::internal, pool.retain(a));
  CHECK_EQUAL(pool.allocate(), a);
  pool.checkInvariant();
}

WGQA_TEST(kvcachePoolReusesMemoryBeforeTouchingMore) {
  UseClock clock;
  BlockPool pool(100, clock);
  for (int round = 0; round < 5; ++round) {
    std::vector<std::int32_t> blocks;
    for (int i = 0; i < 10; ++i) blocks.push_back(pool.allocate());
    for (const std::int32_t block : blocks) pool.release(block);
  }
  CHECK_EQUAL(pool.touched(), 10);
  CHECK_EQUAL(pool.forgetFree().size(), 10u);
  CHECK_EQUAL(pool.touched(), 0);
  CHECK(pool.allocate() < 10);
  pool.checkInvariant();
}

WGQA_TEST(kvcacheTableCopiesASharedPartlyFilledBlock) {
  UseClock clock;
  BlockPool pool(8, clock);
  BlockTable parent(pool, 4);
  for (int i = 0; i < 6; ++i) {
    const AppendedSlot slot = parent.append();
    CHECK(!slot.copy.has_value());
    CHECK_EQUAL(slot.slot, parent.blocks().back() * 4 + i % 4);
  }
  BlockTable child(pool, 4);
  child.shareFrom(parent);
  CHECK_EQUAL(pool.referenced(), 2);
  const std::int32_t shared = parent.blocks()[1];
  const AppendedSlot slot = child.append();
  CHECK(slot.copy.has_value());
  CHECK_EQUAL(slot.copy->source, shared);
  CHECK_EQUAL(slot.copy->destination, child.blocks()[1]);
  CHECK_EQUAL(slot.slot, child.blocks()[1] * 4 + 2);
  CHECK_EQUAL(child.blocks()[0], parent.blocks()[0]);
  // The last holder writes in place.
  CHECK(!parent.append().copy.has_value());
  CHECK_EQUAL(parent.blocks()[1], shared);
  CHECK_EQUAL(pool.referenced(), 3);
}

WGQA_TEST(kvcacheTableSharesFullBlocksWithoutCopies) {
  UseClock clock;
  BlockPool pool(8, clock);
  BlockTable parent(pool, 2);
  for (int i = 0; i < 4; ++i) parent.append();
  BlockTable child(pool, 2);
  child.shareFrom(parent);
  CHECK(!child.append().copy.has_value());
  CHECK(!parent.append().copy.has_value());
  CHECK_EQUAL(pool.referenced(), 4);
  parent.clear();
  CHECK_EQUAL(pool.referenced(), 3);
}

WGQA_TEST(kvcacheInvariantSeesALostTable) {
  UseClock clock;
  BlockPool pool(4, clock);
  BlockTable table(pool, 2);
  table.append();
  CHECK_THROWS(ErrorCode::internal, checkInvariant(pool, {}));
  const BlockTable* tables[] = {&table, &table};
  CHECK_THROWS(ErrorCode::internal, checkInvariant(pool, tables));
  checkInvariant(pool, std::span(tables, 1));
}

WGQA_TEST(kvcachePoolKeepsBlocksInTheOrderOfTheirUse) {
  UseClock clock;
  BlockPool pool(4, clock);
  std::int32_t blocks[4];
  for (std::int32_t& block : blocks) block = pool.allocate();
  CHECK_EQUAL(pool.oldestCached(), -1);
  CHECK_THROWS(ErrorCode::internal, pool.oldestCachedUse());
  for (int i = 0; i < 3; ++i) pool.keep(blocks[i]);
  CHECK_THROWS(ErrorCode::internal, pool.keep(blocks[0]));
  for (const int i : {1, 0, 2, 3}) pool.release(blocks[i]);
  CHECK_EQUAL(pool.cached(), 3);
  CHECK_EQUAL(pool.free(), 1);
  CHECK_EQUAL(pool.held(), 3);
  CHECK_EQUAL(pool.oldestCached(), blocks[1]);
  // In use again, and so the newest in the end.
  pool.retain(blocks[1]);
  CHECK_EQUAL(pool.oldestCached(), blocks[0]);
  pool.release(blocks[1]);
  pool.checkInvariant();
  for (const int i : {0, 2, 1}) {
    CHECK_EQUAL(pool.oldestCached(), blocks[i]);
    pool.drop(pool.oldestCached());
    pool.checkInvariant();
  }
  CHECK_EQUAL(pool.free(), 4);
  CHECK_THROWS(ErrorCode::internal, pool.drop(blocks[0]));
  CHECK_THROWS(ErrorCode::internal, pool.keep(blocks[0]));
}

WGQA_TEST(kvcacheTableKnowsWhatAppendingTakes) {
  UseClock clock;
  BlockPool pool(16, clock);
  BlockTable table(pool, 4);
  CHECK_EQUAL(table.blocksToAppend(0), 0);
  CHECK_EQUAL(table.blocksToAppend(1), 1);
  CHECK_EQUAL(table.blocksToAppend(9), 3);
  for (int i = 0; i < 6; ++i) table.append();
  CHECK_EQUAL(table.blocksToAppend(2), 0);
  CHECK_EQUAL(table.blocksToAppend(3), 1);
  BlockTable other(pool, 4);
  other.shareFrom(table);
  CHECK_EQUAL(other.blocksToAppend(0), 0);
  CHECK_EQUAL(other.blocksToAppend(1), 1);  // a copy
  CHECK_EQUAL(other.blocksToAppend(3), 2);
}

WGQA_TEST(kvcacheTableSharesThePrefixOfAnother) {
  UseClock clock;
  BlockPool pool(16, clock);
  BlockTable parent(pool, 4);
  for (int i = 0; i < 10; ++i) parent.append();
  BlockTable child(pool, 4);
  child.sharePrefixFrom(parent, 9);
  CHECK_EQUAL(child.length(), 8);
  CHECK(std::ranges::equal(child.blocks(), parent.blocks().first(2)));
  child.sharePrefixFrom(parent, 7);
  CHECK_EQUAL(child.length(), 4);
  CHECK(!child.append().copy.has_value());
  CHECK_THROWS(ErrorCode::internal, child.sharePrefixFrom(parent, 11));
  CHECK_THROWS(ErrorCode::internal, child.sharePrefixFrom(child, 1));
}

}  // namespace
}  // namespace wgqa
