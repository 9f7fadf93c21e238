// The whole cache under a random workload: what every block holds is followed by hand, the
// invariant is checked after each operation.
#include <cstdint>
#include <cstring>
#include <deque>
#include <random>
#include <string>
#include <vector>

#include "decode/kv_cache.h"
#include "test/harness.h"

namespace wgqa {
namespace {

constexpr std::int64_t kBlockTokens = 4;

/// Bytes of a head's key or value: those of what the workload remembers of a token.
constexpr std::int64_t kHeadBytes = 8;

struct LayerHeads {
  std::vector<std::int64_t> self;
  std::vector<std::int64_t> cross;
};

EncoderDecoder::CacheShape shapeOf(const LayerHeads& heads, DType dtype) {
  return {heads.self, heads.cross, kHeadBytes / static_cast<std::int64_t>(bytesOf(dtype))};
}

/// With room for `blocks` blocks of self-attention.
KvCacheOptions optionsFor(const LayerHeads& heads, DType dtype, std::int64_t blocks) {
  const std::int64_t scaleBytes = dtype == DType::int8 ? 4 : 0;
  std::int64_t blockBytes = 0;
  for (const std::int64_t kvHeads : heads.self) {
    blockBytes += 2 * kvHeads * kBlockTokens * (kHeadBytes + scaleBytes);
  }
  return {.blockTokens = kBlockTokens, .maxBytes = blocks * blockBytes, .dtype = dtype};
}

/// Sequences and sources as plain lists of tokens. A token's place in the cache holds, in every
/// layer, what the token depends on: all tokens before it, and the source.
class Workload {
 public:
  Workload(const LayerHeads& heads, DType dtype, std::int64_t selfBlocks, std::uint32_t seed)
      : cache_(shapeOf(heads, dtype), optionsFor(heads, dtype, selfBlocks)), random_(seed) {}

  void operate() {
    const std::uint32_t choice = random_() % 32;
    if (sequences_.empty() || choice == 0) return begin();
    if (choice <= 2) return end(pick());
    if (choice == 3) return fork(/*wholly=*/true);
    if (choice == 4) return fork(/*wholly=*/false);
    if (choice == 5) return learn(sequences_[pick()]);
    if (choice == 6 && random_() % 200 == 0) return cache_.forgetCached();
    if (choice == 7 && random_() % 16 == 0) return cache_.prepareMemory();
    append(sequences_[pick()]);
  }

  void check() const {
    std::vector<const BlockTable*> tables;
    for (const Sequence& sequence : sequences_) tables.push_back(&sequence.table);
    cache_.checkInvariant(tables);
  }

  bool contentsMatch() const {
    for (const Sequence& sequence : sequences_) {
      for (std::size_t i = 0; i < sequence.values.size(); ++i) {
        const std::int64_t block = sequence.table.blocks()[i / kBlockTokens];
        const auto place = static_cast<std::int64_t>(i % kBlockTokens);
        for (const LayerCache& layer : cache_.self().layers()) {
          const std::byte* held = valueAt(layer, block * kBlockTokens + place);
          if (std::memcmp(held, &sequence.values[i], kHeadBytes) != 0) return false;
        }
      }
    }
    return true;
  }

  void clear() { sequences_.clear(); }
  const KvCache& cache() const { return cache_; }
  std::int64_t hits() const { return hits_; }
  std::int64_t evictions() const { return refused_; }

 private:
  struct Sequence {
    SourceUse source;
    BlockTable table;
    std::vector<std::int32_t> tokens;
    std::vector<std::uint64_t> values;  // what each slot must hold
  };

  std::size_t pick() { return random_() % sequences_.size(); }

  /// A new sequence over one of six sources, with what the cache knows of one of few beginnings.
  void begin() {
    const std::vector<std::int32_t> ids(1 + random_() % 6, 5);
    SourceUse source = cache_.sources().find(ids);
    if (!source) {
      if (!cache_.makeRoom(0, cache_.cross().blocksFor(static_cast<std::int64_t>(ids.size())))) {
        return refuse();
      }
      source = cache_.sources().add(ids);
      source->isReady = random_() % 8 != 0;
    }
    Sequence sequence{std::move(source), BlockTable(cache_.self().pool(), kBlockTokens), {}, {}};
    sequence.table.chain() = PrefixChain::at(sequence.source->root);
    const std::vector<std::int32_t> wanted(random_() % 20, 0);
    const auto match = cache_.prefixes().find(sequence.source->root, wanted);
    sequence.table.adopt(match);
    hits_ += static_cast<std::int64_t>(match.blocks.size());
    for (std::int64_t i = 0; i < sequence.table.length(); ++i) push(sequence, wanted[i]);
    sequences_.push_back(std::move(sequence));
  }

  void end(std::size_t index) {
    sequences_.erase(sequences_.begin() + static_cast<std::ptrdiff_t>(index));
  }

  void fork(bool wholly) {
    const Sequence& parent = sequences_[pick()];
    const auto length = static_cast<std::size_t>(parent.table.length());
    Sequence child{cache_.sources().find(parent.source->ids),
                   BlockTable(cache_.self().pool(), kBlockTokens),
                   {},
                   {}};
    if (!child.source || child.source->root != parent.source->root) return;  // was forgotten
    if (wholly) {
      child.table.shareFrom(parent.table);
    } else {
      child.table.sharePrefixFrom(parent.table,
                                  static_cast<std::int64_t>(random_() % (length + 1)));
    }
    const auto shared = child.table.length();
    child.tokens.assign(parent.tokens.begin(), parent.tokens.begin() + shared);
    child.values.assign(parent.values.begin(), parent.values.begin() + shared);
    sequences_.push_back(std::move(child));
  }

  void learn(Sequence& sequence) {
    cache_.prefixes().learn(sequence.table.chain(), sequence.tokens, sequence.table.blocks());
  }

  void append(Sequence& sequence) {
    if (!cache_.makeRoom(sequence.table.blocksToAppend(1), 0)) {
      refuse();
      return end(pick());
    }
    const AppendedSlot slot = sequence.table.append();
    if (slot.copy) copy(*slot.copy);
    push(sequence, random_() % 8 == 0 ? 1 : 0);
    for (const LayerCache& layer : cache_.self().layers()) {
      std::memcpy(valueAt(layer, slot.slot), &sequence.values.back(), kHeadBytes);
    }
  }

  void copy(const BlockCopy& wanted) {
    for (const TensorView& blocks : cache_.self().blocks()) {
      copyHostBlocks({blocks, {&wanted.source, 1}, {&wanted.destination, 1}});
    }
  }

  /// A slot's value of the last head.
  static std::byte* valueAt(const LayerCache& layer, std::int64_t slot) {
    const TensorView& values = layer.values;
    const std::int64_t element = slot / kBlockTokens * values.strides[0] +
                                 (values.shape[1] - 1) * values.strides[1] +
                                 slot % kBlockTokens * values.strides[2];
    return values.as<std::byte>() + element * static_cast<std::int64_t>(bytesOf(values.dtype));
  }

  /// The value of a token depends on everything before it.
  static void push(Sequence& sequence, std::int32_t token) {
    const std::uint64_t before =
        sequence.values.empty() ? sequence.source->root.id : sequence.values.back();
    sequence.tokens.push_back(token);
    sequence.values.push_back((before * 31 + static_cast<std::uint64_t>(token) + 1) *
                              0x9E3779B97F4A7C15ull);
  }

  void refuse() { ++refused_; }

  KvCache cache_;
  std::mt19937 random_;
  std::deque<Sequence> sequences_;
  std::int64_t hits_ = 0;
  std::int64_t refused_ = 0;
};

void checkAfterEachOperation(Workload& workload, int operations) {
  for (int i = 0; i < operations; ++i) {
    workload.operate();
    workload.check();
    if (i % 64 == 0 && !workload.contentsMatch()) {
      return test::fail("a sequence reads back something else after operation " +
                        std::to_string(i));
    }
  }
  // The workload met what it is for.
  CHECK(workload.hits() > operations / 100);
  CHECK(workload.evictions() > operations / 1000);
  workload.clear();
  workload.check();
  const KvCache& cache = workload.cache();
  CHECK_EQUAL(cache.selfCounts().referenced + cache.crossCounts().referenced, 0);
  CHECK_EQUAL(cache.heldBytes(), cache.selfCounts().cached * cache.self().blockBytes() +
                                     cache.crossCounts().cached * cache.cross().blockBytes());
}

WGQA_TEST(kvcacheInvariantHoldsAfterEachOfAHundredThousandOperations) {
  Workload workload({{2}, {1}}, DType::float32, /*selfBlocks=*/60, /*seed=*/20240715);
  checkAfterEachOperation(workload, 100000);
}

WGQA_TEST(kvcacheInvariantHoldsWhereLayersDiffer) {
  for (const DType dtype : {DType::float32, DType::bfloat16, DType::int8}) {
    Workload workload({{4, 1, 2}, {1, 3, 1}}, dtype, /*selfBlocks=*/60, /*seed=*/20240716);
    checkAfterEachOperation(workload, 20000);
  }
}

/// README: 2 x layers x kvHeads x blockSize x headDim x bytes of an element, for each block.
std::int64_t formula(std::int64_t layers, std::int64_t kvHeads, std::int64_t tokens,
                     std::int64_t headDim, std::int64_t elementBytes) {
  const std::int64_t blocks = (tokens + 15) / 16;
  return blocks * 2 * layers * kvHeads * 16 * headDim * elementBytes;
}

/// Bytes held by a sequence of 100 tokens over a source of 300.
std::int64_t bytesHeld(std::int64_t kvHeads, DType dtype) {
  const std::vector<std::int64_t> heads(6, kvHeads);
  KvCache cache({.selfKvHeads = heads, .crossKvHeads = heads, .headDim = 64},
                {.blockTokens = 16, .maxBytes = std::int64_t{1} << 28, .dtype = dtype});
  const SourceUse source = cache.sources().add(std::vector<std::int32_t>(300, 5));
  BlockTable table(cache.self().pool(), 16);
  for (int i = 0; i < 100; ++i) table.append();
  return cache.heldBytes();
}

WGQA_TEST(kvcacheBytesAreThoseOfTheFormulaAndAQuarterForAQuarterOfTheHeads) {
  for (const DType dtype : {DType::float32, DType::bfloat16}) {
    const std::int64_t element = dtype == DType::float32 ? 4 : 2;
    for (const std::int64_t kvHeads : {8, 4, 2, 1}) {
      CHECK_EQUAL(bytesHeld(kvHeads, dtype),
                  formula(6, kvHeads, 100, 64, element) + formula(6, kvHeads, 300, 64, element));
    }
    CHECK_EQUAL(4 * bytesHeld(2, dtype), bytesHeld(8, dtype));
  }
}

WGQA_TEST(kvcacheEvictsTheOldestOfBothAttentions) {
  KvCache cache({.selfKvHeads = {1}, .crossKvHeads = {1}, .headDim = 2},
                {.blockTokens = 1, .maxBytes = 4 * 16, .dtype = DType::float32});
  CHECK_EQUAL(cache.self().blockBytes(), 16);
  const auto keepBlock = [&](std::int32_t token) {
    BlockTable table(cache.self().pool(), 1);
    table.chain() = PrefixChain::at({.id = 1, .isRoot = true});
    table.append();
    cache.prefixes().learn(table.chain(), std::vector<std::int32_t>{token}, table.blocks());
  };
  const auto keepSource = [&](std::int32_t id) {
    cache.sources().add(std::vector<std::int32_t>{id})->isReady = true;
  };
  keepSource(1);
  keepBlock(2);
  keepSource(3);
  keepBlock(4);
  CHECK_EQUAL(cache.heldBytes(), cache.maxBytes());
  CHECK(cache.canMakeRoom(2, 2));
  CHECK(!cache.canMakeRoom(3, 2));
  CHECK(!cache.makeRoom(0, 5));
  CHECK_EQUAL(cache.heldBytes(), cache.maxBytes());
  CHECK(cache.makeRoom(1, 0));
  CHECK_EQUAL(cache.crossCounts().cached, 1);
  CHECK_EQUAL(cache.selfCounts().cached, 2);
  CHECK(cache.makeRoom(1, 1));
  CHECK_EQUAL(cache.crossCounts().cached, 1);
  CHECK_EQUAL(cache.selfCounts().cached, 1);
  CHECK(!!cache.sources().find(std::vector<std::int32_t>{3}));
  cache.checkInvariant({});
}

}  // namespace
}  // namespace wgqa
