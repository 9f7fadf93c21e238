// The block pool and block tables, by hand and under a random workload.
#include <cstdint>
#include <deque>
#include <map>
#include <random>
#include <vector>

#include "kvcache/block_pool.h"
#include "kvcache/block_table.h"
#include "test/harness.h"

namespace wgqa {
namespace {

WGQA_TEST(kvcacheBlockBytesFollowTheFormula) {
  const BlockShape shape{
      .layers = 12, .kvHeads = 3, .blockTokens = 16, .headDim = 64, .elementBytes = 2};
  CHECK_EQUAL(shape.bytes(), 2 * 12 * 3 * 16 * 64 * 2);
  const BlockShape multiHead{
      .layers = 12, .kvHeads = 12, .blockTokens = 16, .headDim = 64, .elementBytes = 2};
  CHECK_EQUAL(multiHead.bytes(), 4 * shape.bytes());
}

WGQA_TEST(kvcachePoolCountsReferences) {
  BlockPool pool(2);
  const std::int32_t a = pool.allocate();
  const std::int32_t b = pool.allocate();
  CHECK(a != b);
  CHECK_THROWS(ErrorCode::internal, pool.allocate());
  pool.retain(a);
  pool.release(a);
  CHECK_EQUAL(pool.inUse(), 2);
  pool.release(a);
  CHECK_EQUAL(pool.free(), 1);
  CHECK_THROWS(ErrorCode::internal, pool.release(a));
  CHECK_THROWS(ErrorCode::internal, pool.retain(a));
  CHECK_EQUAL(pool.allocate(), a);
  pool.checkInvariant();
}

WGQA_TEST(kvcachePoolReusesMemoryBeforeTouchingMore) {
  BlockPool pool(100);
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
  BlockPool pool(8);
  BlockTable parent(pool, 4);
  for (int i = 0; i < 6; ++i) {
    const AppendedSlot slot = parent.append();
    CHECK(!slot.copy.has_value());
    CHECK_EQUAL(slot.slot, parent.blocks().back() * 4 + i % 4);
  }
  BlockTable child(pool, 4);
  child.shareFrom(parent);
  CHECK_EQUAL(pool.inUse(), 2);
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
  CHECK_EQUAL(pool.inUse(), 3);
}

WGQA_TEST(kvcacheTableSharesFullBlocksWithoutCopies) {
  BlockPool pool(8);
  BlockTable parent(pool, 2);
  for (int i = 0; i < 4; ++i) parent.append();
  BlockTable child(pool, 2);
  child.shareFrom(parent);
  CHECK(!child.append().copy.has_value());
  CHECK(!parent.append().copy.has_value());
  CHECK_EQUAL(pool.inUse(), 4);
  parent.clear();
  CHECK_EQUAL(pool.inUse(), 3);
}

WGQA_TEST(kvcacheInvariantSeesALostTable) {
  BlockPool pool(4);
  BlockTable table(pool, 2);
  table.append();
  CHECK_THROWS(ErrorCode::internal, checkInvariant(pool, {}));
  const BlockTable* tables[] = {&table, &table};
  CHECK_THROWS(ErrorCode::internal, checkInvariant(pool, tables));
  checkInvariant(pool, std::span(tables, 1));
}

// Sequences as a plain list of what each slot holds: the tables must read back the same after
// appends, forks and releases in any order, with copies done as the tables ask for them.
class Workload {
 public:
  Workload(std::int64_t capacity, std::int64_t blockTokens, std::uint32_t seed)
      : pool_(capacity), blockTokens_(blockTokens), random_(seed) {}

  void operate() {
    const std::uint32_t choice = random_() % 16;
    if (tables_.empty() || choice == 0) {
      add();
    } else if (choice <= 2) {
      tables_.erase(tables_.begin() + static_cast<std::ptrdiff_t>(pick()));
    } else if (choice == 3) {
      fork();
    } else if (choice == 4 && random_() % 64 == 0) {
      for (const std::int32_t block : pool_.forgetFree()) memory_.erase(block);
    } else {
      append(tables_[pick()]);
    }
  }

  void check() const {
    std::vector<const BlockTable*> tables;
    for (const Sequence& sequence : tables_) tables.push_back(&sequence.table);
    checkInvariant(pool_, tables);
  }

  bool contentsMatch() const {
    for (const Sequence& sequence : tables_) {
      for (std::size_t i = 0; i < sequence.values.size(); ++i) {
        const std::int32_t block = sequence.table.blocks()[i / blockTokens_];
        if (memory_.at(block)[i % blockTokens_] != sequence.values[i]) return false;
      }
    }
    return true;
  }

  void clear() { tables_.clear(); }
  const BlockPool& pool() const { return pool_; }

 private:
  struct Sequence {
    BlockTable table;
    std::vector<int> values;
  };

  std::size_t pick() { return random_() % tables_.size(); }

  void add() { tables_.push_back({BlockTable(pool_, blockTokens_), {}}); }

  void fork() {
    const std::size_t parent = pick();
    add();
    tables_.back().table.shareFrom(tables_[parent].table);
    tables_.back().values = tables_[parent].values;
  }

  void append(Sequence& sequence) {
    if (pool_.free() == 0) return;
    const AppendedSlot slot = sequence.table.append();
    if (slot.copy) memory_[slot.copy->destination] = memory_.at(slot.copy->source);
    std::vector<int>& block = memory_[static_cast<std::int32_t>(slot.slot / blockTokens_)];
    block.resize(blockTokens_);
    block[slot.slot % blockTokens_] = ++written_;
    sequence.values.push_back(written_);
  }

  BlockPool pool_;
  std::int64_t blockTokens_;
  std::mt19937 random_;
  std::deque<Sequence> tables_;
  std::map<std::int32_t, std::vector<int>> memory_;
  int written_ = 0;
};

WGQA_TEST(kvcacheInvariantHoldsAfterEachOfAHundredThousandOperations) {
  Workload workload(/*capacity=*/60, /*blockTokens=*/4, /*seed=*/20240715);
  constexpr int kOperations = 100000;
  for (int i = 0; i < kOperations; ++i) {
    workload.operate();
    workload.check();
    if (i % 64 == 0 && !workload.contentsMatch()) {
      test::fail("a sequence reads back something else after operation " + std::to_string(i));
      return;
    }
  }
  workload.clear();
  CHECK_EQUAL(workload.pool().inUse(), 0);
  workload.check();
}

}  // namespace
}  // namespace wgqa
