// The gradient of attention on Hopper's tensor cores: as in attention_tensor_backward.cu keys' and
// queries' gradients have a kernel each, whose blocks own what they add to. One warpgroup of a
// block copies; the others begin the next scores before they add what came of the last.
#include "ops/cuda/kernels/attention_hopper_backward.h"

#include "ops/cuda/kernels/attention_gradient_tile.h"
#include "ops/cuda/kernels/registry.h"

namespace wgqa::cuda {
namespace {

struct Barriers {
  SharedBarrier rows;
  RingBarriers<HopperGradientTiles::kStages, HopperGradientTiles::kWarps> ring;

  /// By one thread.
  WGQA_DEVICE void initialiseAll() {
    static_assert(sizeof(Barriers) <= HopperGradientTiles::kBarrierBytes);
    initialise(rows, 1);
    ring.initialiseAll();
    publishBarriers();
  }
};

template <typename Tiles>
WGQA_DEVICE Barriers& barriersIn(unsigned char* shared) {
  return *reinterpret_cast<Barriers*>(shared + Tiles::kBarriersAt);
}

/// Of the warps and warpgroups that multiply.
WGQA_DEVICE int multiplierWarp() { return warpIndex() - kWarpgroupThreads / kWarpThreads; }
WGQA_DEVICE int multiplierGroup() { return warpgroupIndex() - 1; }

using Scores = float[1][HopperGradientTiles::kColumns / 8][4];
using Rounded = std::uint32_t[HopperGradientTiles::kColumns / 16][4];
using Sums = float[1][kHopperGradientColumns / 8][4];

WGQA_DEVICE void round(const Scores& values, Rounded& rounded) {
  roundFragment<BFloat16Element>(
      reinterpret_cast<const float(&)[1][1][HopperGradientTiles::kColumns / 8][4]>(values),
      rounded);
}

// ---------------------------------------------------------------------------- queries

/// One thread's work: the block's queries and their gradOut, then keys and values.
WGQA_DEVICE void copyForQueries(const AttentionHopperBackwardArguments& p, const QueryTile& tile,
                                int tiles, unsigned char* shared) {
  using Tiles = HopperQueryGradientTiles;
  Barriers& barriers = barriersIn<Tiles>(shared);
  const int query = tile.queryOffset + tile.first;
  arriveExpecting(barriers.rows, 2 * Tiles::Rows::kBytes);
  Tiles::Rows::copy(shared, p.qRows, tile.head, query, barriers.rows);
  Tiles::Rows::copy(shared + Tiles::kGradOutAt, p.gradOutRows, tile.head, query, barriers.rows);
  for (int i = 0; i < tiles; ++i) {
    const int place = i % Tiles::kStages * Tiles::Keys::kBytes;
    const int key = tile.keyOffset + i * Tiles::kKeys;
    SharedBarrier& full = barriers.ring.fill(i, 2 * Tiles::Keys::kBytes);
    Tiles::Keys::copy(shared + Tiles::kKeysAt + place, p.kRows, tile.kvHead, key, full);
    Tiles::Keys::copy(shared + Tiles::kValuesAt + place, p.vRows, tile.kvHead, key, full);
  }
}

/// A warpgroup's 64 queries: of each lane, two rows.
template <bool kDropout>
class QueryGradient {
  using Tiles = HopperQueryGradientTiles;

 public:
  WGQA_DEVICE QueryGradient(const AttentionHopperBackwardArguments& p, const QueryTile& tile,
                            unsigned char* shared)
      : p_(p),
        shared_(shared),
        groupRow_(64 * multiplierGroup()),
        warp_(warpQueries<16>(p.shape, tile, 16 * multiplierWarp())),
        tiles_(tilesOf(keysSeen(p.shape, tile, groupRow_, 64), Tiles::kKeys)) {
    loadStatistics(tile);
    if (p.biasPartials != nullptr) clear(distances());
  }

  /// `tilesOfBlock`: as many as are copied; those that this warpgroup does not see are let pass.
  WGQA_DEVICE void run(int tilesOfBlock) {
    Barriers& barriers = barriersIn<Tiles>(shared_);
    waitFor(barriers.rows, 0);
    clearOtherRows(blockTile(p_));
    loadFragment<Tiles::Rows>(shared_, warp_.row, queries_);
    loadFragment<Tiles::Rows>(shared_ + Tiles::kGradOutAt, warp_.row, gradOut_);
    if (tiles_ > 0) walk();
    for (int i = tiles_; i < tilesOfBlock; ++i) barriers.ring.letPass(i);
    storeQueries(p_, blockTile(p_), warp_.row, gradQ_);
    if (p_.biasPartials != nullptr) storeBias();
  }

 private:
  WGQA_DEVICE void loadStatistics(const QueryTile& tile) {
    const int sequence = p_.tiles[blockX() / p_.shape.heads].sequence;
    const QueryStatistics* first =
        p_.statistics + tile.head * p_.statisticsRows + statisticsStart(sequence, tile.queryOffset);
    WGQA_UNROLL
    for (int r = 0; r < 2; ++r) {
      const int query = tile.first + warp_.row + laneRow() + 8 * r;
      const bool isQuery = query >= 0 && query < tile.queries;
      rows_[r] = isQuery ? first[query] : QueryStatistics{0.0f, 0.0f};
    }
  }

  /// Rows that are no query of the sequence must add nothing to the bias's gradient.
  WGQA_DEVICE void clearOtherRows(const QueryTile& tile) {
    const int end = groupRow_ + 64;
    const int before = -tile.first < end ? -tile.first : end;
    const int behind =
        tile.queries - tile.first > groupRow_ ? tile.queries - tile.first : groupRow_;
    for (const int at : {0, Tiles::kGradOutAt}) {
      if (before > groupRow_) Tiles::Rows::clearRows(shared_ + at, groupRow_, before);
      if (behind < end) Tiles::Rows::clearRows(shared_ + at, behind, end);
    }
  }

  WGQA_DEVICE void walk() {
    Barriers& barriers = barriersIn<Tiles>(shared_);
    Scores scores;
    Scores grads;
    Rounded rounded;
    beginTile(0, scores, grads);
    differentiateTile<0>(0, scores, grads);
    round(grads, rounded);
    for (int i = 1; i < tiles_; ++i) {
      beginTile(i, scores, grads);
      beginQueries(i - 1, rounded);
      differentiateTile<1>(i, scores, grads);
      waitForProducts<0>(flat(gradQ_));
      barriers.ring.release(i - 1);
      round(grads, rounded);
    }
    beginQueries(tiles_ - 1, rounded);
    waitForProducts<0>(flat(gradQ_));
    barriers.ring.release(tiles_ - 1);
  }

  /// Scores and gradients of probabilities of tile i, a group of products each.
  WGQA_DEVICE void beginTile(int i, Scores& scores, Scores& grads) {
    barriersIn<Tiles>(shared_).ring.waitUntilFull(i);
    // Another sequence's keys: their gradients are 0, but 0 times infinity would not be.
    const int left = warp_.keys - i * Tiles::kKeys;
    if (left < Tiles::kKeys) {
      Tiles::Keys::clearRows(keys(i), left, Tiles::kKeys);
      Tiles::Keys::clearRows(values(i), left, Tiles::kKeys);
    }
    beginProducts();
    beginRowProducts<Tiles::Keys>(queries_, Tiles::Keys::matrix(keys(i), 0), flat(scores));
    commitProducts();
    beginRowProducts<Tiles::Keys>(gradOut_, Tiles::Keys::matrix(values(i), 0), flat(grads));
    commitProducts();
  }

  WGQA_DEVICE void beginQueries(int i, const Rounded& rounded) {
    beginProducts();
    beginFragmentProducts<BFloat16Element, Tiles::Keys>(rounded, Tiles::Keys::matrix(keys(i), 0),
                                                        flat(gradQ_));
    commitProducts();
  }

  /// The gradients of tile i's probabilities become those of its scores. kBehind: groups of
  /// products that were begun after the tile's.
  template <int kBehind>
  WGQA_DEVICE void differentiateTile(int i, Scores& scores, Scores& grads) {
    const int firstKey = i * Tiles::kKeys;
    waitForProducts<1 + kBehind>(flat(scores));
    exponentiateRows(firstKey, scores);
    waitForProducts<kBehind>(flat(grads));
    differentiateRows(firstKey, scores, grads);
    if (p_.biasPartials != nullptr) addToBias(firstKey, grads);
  }

  WGQA_DEVICE void exponentiateRows(int firstKey, Scores& scores) {
    const auto* window = reinterpret_cast<const float*>(shared_ + Tiles::kBiasAt);
    const ScoreTerms terms = addBias<true>(p_.shape.bias, window, p_.shape.scale * kLog2E,
                                           firstKey - warp_.position, scores);
    maskKeys(p_.shape.causal, warp_.position, firstKey, warp_.keys, scores);
    WGQA_UNROLL
    for (int i = 0; i < Tiles::kColumns / 2; ++i) {
      float& score = scores[0][i / 4][i % 4];
      score =
          fastExp2(fusedMultiplyAdd(score, terms.factor, terms.offset - rows_[i % 4 / 2].logSum));
    }
  }

  WGQA_DEVICE void differentiateRows(int firstKey, const Scores& probabilities, Scores& grads) {
    if constexpr (kDropout) {
      const std::uint32_t kept = keptOfKeyColumns<1, Tiles::kColumns / 8>(
          p_.shape.dropout, warp_.dropoutRow, p_.shape.heads, firstKey);
      applyKept(kept, p_.shape.dropout.keptScale, grads);
    }
    WGQA_UNROLL
    for (int i = 0; i < Tiles::kColumns / 2; ++i) {
      float& grad = grads[0][i / 4][i % 4];
      grad = probabilities[0][i / 4][i % 4] * (grad - rows_[i % 4 / 2].delta);
    }
  }

  WGQA_DEVICE void addToBias(int firstKey, const Scores& grads) {
    WGQA_UNROLL
    for (int first = 0; first < Tiles::kColumns; first += 32) {
      const auto& columns = reinterpret_cast<const float(&)[1][4][4]>(grads[0][first / 8]);
      addToDistances(columns, firstKey + first - warp_.position, distances());
    }
  }

  WGQA_DEVICE void storeBias() {
    const RelativeBiasArguments& bias = p_.shape.bias;
    const int heads = p_.shape.heads;
    joinDistances(distances(), tiles_ * Tiles::kKeys - 32 - warp_.position);
    warpgroupBarrier();
    const std::int64_t stride = std::int64_t{Tiles::kMultipliers} * (gridX() / heads);
    storeBuckets<4>(bias, distanceSums<Tiles>(bias, 4 * multiplierGroup()), warpIndex() % 4, stride,
                    p_.biasPartials + blockX() % heads * bias.bucketCount * stride +
                        blockX() / heads * Tiles::kMultipliers + multiplierGroup());
  }

  WGQA_DEVICE DistanceSums distances() const {
    return distanceSums<Tiles>(p_.shape.bias, multiplierWarp());
  }
  WGQA_DEVICE unsigned char* keys(int i) const {
    return shared_ + Tiles::kKeysAt + i % Tiles::kStages * Tiles::Keys::kBytes;
  }
  WGQA_DEVICE unsigned char* values(int i) const {
    return shared_ + Tiles::kValuesAt + i % Tiles::kStages * Tiles::Keys::kBytes;
  }

  const AttentionHopperBackwardArguments& p_;
  unsigned char* shared_;
  int groupRow_;  // of the tile: the warpgroup's row 0
  WarpQueries warp_;
  int tiles_;  // of keys that some of its queries see
  QueryStatistics rows_[2];
  std::uint32_t queries_[4][4];
  std::uint32_t gradOut_[4][4];
  Sums gradQ_ = {};
};

template <bool kDropout>
WGQA_KERNEL void WGQA_BOUNDS(HopperGradientTiles::kThreads, 1)
    hopperQueryGradient(WGQA_CONSTANT_ARGUMENTS(AttentionHopperBackwardArguments) p) {
  if constexpr (kHasHopper) {
    using Tiles = HopperQueryGradientTiles;
    auto* shared = dynamicShared<unsigned char>();
    const QueryTile tile = blockTile(p);
    const int tiles = tilesOf(keysSeen(p.shape, tile, 0, Tiles::kRows), Tiles::kKeys);
    if (threadIndex() == 0) barriersIn<Tiles>(shared).initialiseAll();
    loadBiasWindow(p.shape.bias, tile.head, reinterpret_cast<float*>(shared + Tiles::kBiasAt));
    blockBarrier();
    if (warpgroupIndex() == 0) {
      keepRegisters<Tiles::kCopierRegisters>();
      if (threadIndex() == 0) copyForQueries(p, tile, tiles, shared);
    } else {
      takeRegisters<Tiles::kMultiplierRegisters>();
      QueryGradient<kDropout>(p, tile, shared).run(tiles);
    }
  }
}

// ---------------------------------------------------------------------------- keys

/// A block's walk over the queries, tiles of one head after those of another.
struct QueryWalk {
  int firstHead;
  int firstQuery;
  int tilesOfHead;
  int tiles;

  WGQA_DEVICE QueryCursor at(int i) const {
    return {firstHead + i / tilesOfHead,
            firstQuery + i % tilesOfHead * HopperKeyGradientTiles::kQueries};
  }
};

WGQA_DEVICE QueryWalk queryWalk(const AttentionHopperBackwardArguments& p, const KeyTile& tile) {
  constexpr int kQueries = HopperKeyGradientTiles::kQueries;
  // Queries before the tile's first key see none of it.
  const int unseen = p.shape.causal ? tile.first - tile.firstPosition : 0;
  const int firstQuery = unseen < 0 ? 0 : unseen / kQueries * kQueries;
  const int left = tile.queries - firstQuery;
  const int tilesOfHead = left > 0 ? tilesOf(left, kQueries) : 0;
  const int firstHead = p.groups[tile.kvHead];
  return {firstHead, firstQuery, tilesOfHead,
          (p.groups[tile.kvHead + 1] - firstHead) * tilesOfHead};
}

/// One thread's work: the block's keys and values, then queries, their gradOut and statistics.
WGQA_DEVICE void copyForKeys(const AttentionHopperBackwardArguments& p, const KeyTile& tile,
                             const QueryWalk& walk, unsigned char* shared) {
  using Tiles = HopperKeyGradientTiles;
  Barriers& barriers = barriersIn<Tiles>(shared);
  const int key = tile.keyOffset + tile.first;
  arriveExpecting(barriers.rows, 2 * Tiles::Rows::kBytes);
  Tiles::Rows::copy(shared, p.kRows, tile.kvHead, key, barriers.rows);
  Tiles::Rows::copy(shared + Tiles::kValuesAt, p.vRows, tile.kvHead, key, barriers.rows);
  for (int i = 0; i < walk.tiles; ++i) {
    const QueryCursor cursor = walk.at(i);
    const int stage = i % Tiles::kStages;
    const int token = tile.queryOffset + cursor.query;
    SharedBarrier& full =
        barriers.ring.fill(i, 2 * Tiles::Queries::kBytes + Tiles::kStatisticsBytes);
    Tiles::Queries::copy(shared + Tiles::kQueriesAt + stage * Tiles::Queries::kBytes, p.qRows,
                         cursor.head, token, full);
    Tiles::Queries::copy(shared + Tiles::kGradOutAt + stage * Tiles::Queries::kBytes, p.gradOutRows,
                         cursor.head, token, full);
    copyBytes(shared + Tiles::kStatisticsAt + stage * Tiles::kStatisticsBytes,
              p.statistics + cursor.head * p.statisticsRows + tile.statistics + cursor.query,
              Tiles::kStatisticsBytes, full);
  }
}

/// A warpgroup's 64 keys: of each lane, two rows.
template <bool kDropout>
class KeyGradient {
  using Tiles = HopperKeyGradientTiles;

 public:
  WGQA_DEVICE KeyGradient(const AttentionHopperBackwardArguments& p, const KeyTile& tile,
                          const QueryWalk& walk, unsigned char* shared)
      : p_(p),
        shared_(shared),
        row_(16 * multiplierWarp()),
        key_(tile.first + row_),
        distance_(key_ - tile.firstPosition),
        queryOffset_(tile.queryOffset),
        queries_(tile.queries),
        walk_(walk) {
    waitFor(barriersIn<Tiles>(shared).rows, 0);
    loadFragment<Tiles::Rows>(shared, row_, keys_);
    loadFragment<Tiles::Rows>(shared + Tiles::kValuesAt, row_, values_);
  }

  WGQA_DEVICE void run() {
    Barriers& barriers = barriersIn<Tiles>(shared_);
    const bool hasKeys = key_ - row_ + 64 * multiplierGroup() < keyTile(p_).keys;
    if (hasKeys && walk_.tiles > 0) {
      walk();
    } else {
      for (int i = 0; i < walk_.tiles; ++i) barriers.ring.letPass(i);
    }
    storeKeys(p_, keyTile(p_), row_, gradK_, gradV_);
  }

 private:
  WGQA_DEVICE void walk() {
    Barriers& barriers = barriersIn<Tiles>(shared_);
    Scores scores;
    Scores grads;
    Rounded probabilities;
    Rounded rounded;
    beginTile(0, scores, grads);
    differentiateTile<0>(0, scores, grads);
    round(scores, probabilities);
    round(grads, rounded);
    for (int i = 1; i < walk_.tiles; ++i) {
      beginTile(i, scores, grads);
      beginKeys(i - 1, probabilities, rounded);
      differentiateTile<1>(i, scores, grads);
      waitForProducts<0>(flat(gradV_));
      waitForProducts<0>(flat(gradK_));
      barriers.ring.release(i - 1);
      round(scores, probabilities);
      round(grads, rounded);
    }
    beginKeys(walk_.tiles - 1, probabilities, rounded);
    waitForProducts<0>(flat(gradV_));
    waitForProducts<0>(flat(gradK_));
    barriers.ring.release(walk_.tiles - 1);
  }

  /// Scores and gradients of probabilities of tile i, a group of products each.
  WGQA_DEVICE void beginTile(int i, Scores& scores, Scores& grads) {
    barriersIn<Tiles>(shared_).ring.waitUntilFull(i);
    const QueryCursor cursor = walk_.at(i);
    if (cursor.query == walk_.firstQuery) loadBias(cursor.head);
    // Another sequence's queries must add nothing.
    const int left = queries_ - cursor.query;
    if (left < Tiles::kQueries) {
      Tiles::Queries::clearRows(queries(i), left, Tiles::kQueries);
      Tiles::Queries::clearRows(gradOut(i), left, Tiles::kQueries);
    }
    beginProducts();
    beginRowProducts<Tiles::Queries>(keys_, Tiles::Queries::matrix(queries(i), 0), flat(scores));
    commitProducts();
    beginRowProducts<Tiles::Queries>(values_, Tiles::Queries::matrix(gradOut(i), 0), flat(grads));
    commitProducts();
  }

  WGQA_DEVICE void beginKeys(int i, const Rounded& probabilities, const Rounded& rounded) {
    beginProducts();
    beginFragmentProducts<BFloat16Element, Tiles::Queries>(
        probabilities, Tiles::Queries::matrix(gradOut(i), 0), flat(gradV_));
    beginFragmentProducts<BFloat16Element, Tiles::Queries>(
        rounded, Tiles::Queries::matrix(queries(i), 0), flat(gradK_));
    commitProducts();
  }

  /// Scores of tile i become probabilities, with what dropout leaves of them, and the gradients of
  /// probabilities those of scores. kBehind: groups of products that were begun after the tile's.
  template <int kBehind>
  WGQA_DEVICE void differentiateTile(int i, Scores& scores, Scores& grads) {
    const QueryCursor cursor = walk_.at(i);
    const auto* columns =
        reinterpret_cast<const QueryStatistics*>(shared_ + Tiles::kStatisticsAt +
                                                 i % Tiles::kStages * Tiles::kStatisticsBytes) +
        laneColumn();
    const int distance = distance_ - cursor.query;
    const std::uint32_t kept = kDropout ? draw(cursor) : 0;
    waitForProducts<1 + kBehind>(flat(scores));
    const ScoreTerms terms =
        addBias<false>(p_.shape.bias, window(), p_.shape.scale * kLog2E, distance, scores);
    if (p_.shape.causal) maskQueries(distance, scores);
    exponentiateColumns(terms, columns, scores);
    waitForProducts<kBehind>(flat(grads));
    if constexpr (kDropout) applyKept(kept, p_.shape.dropout.keptScale, grads);
    differentiateColumns(columns, scores, grads);
    if constexpr (kDropout) applyKept(kept, 1.0f, scores);
  }

  WGQA_DEVICE std::uint32_t draw(const QueryCursor& cursor) const {
    const int heads = p_.shape.heads;
    const auto token = static_cast<std::uint32_t>(queryOffset_ + cursor.query + laneColumn());
    return keptOfKeyRows<1, Tiles::kColumns / 8>(p_.shape.dropout, token * heads + cursor.head,
                                                 heads, key_);
  }

  /// The bias of the head whose queries come next.
  WGQA_DEVICE void loadBias(int head) {
    if (p_.shape.bias.table == nullptr) return;
    warpgroupBarrier();
    loadBiasWindow(p_.shape.bias, head, window(), threadIndex() % kWarpgroupThreads,
                   kWarpgroupThreads);
    warpgroupBarrier();
  }
  WGQA_DEVICE float* window() const {
    return reinterpret_cast<float*>(shared_ + Tiles::kBiasAt) +
           multiplierGroup() * biasWindowFloats(p_.shape.bias.reach);
  }
  WGQA_DEVICE unsigned char* queries(int i) const {
    return shared_ + Tiles::kQueriesAt + i % Tiles::kStages * Tiles::Queries::kBytes;
  }
  WGQA_DEVICE unsigned char* gradOut(int i) const {
    return shared_ + Tiles::kGradOutAt + i % Tiles::kStages * Tiles::Queries::kBytes;
  }

  const AttentionHopperBackwardArguments& p_;
  unsigned char* shared_;
  int row_;       // of the tile: the warp's row 0
  int key_;       // in the sequence
  int distance_;  // of it from query 0
  int queryOffset_;
  int queries_;
  QueryWalk walk_;
  std::uint32_t keys_[4][4];
  std::uint32_t values_[4][4];
  Sums gradK_ = {};
  Sums gradV_ = {};
};

template <bool kDropout>
WGQA_KERNEL void WGQA_BOUNDS(HopperGradientTiles::kThreads, 1)
    hopperKeyGradient(WGQA_CONSTANT_ARGUMENTS(AttentionHopperBackwardArguments) p) {
  if constexpr (kHasHopper) {
    using Tiles = HopperKeyGradientTiles;
    auto* shared = dynamicShared<unsigned char>();
    const KeyTile tile = keyTile(p);
    const QueryWalk walk = queryWalk(p, tile);
    if (threadIndex() == 0) barriersIn<Tiles>(shared).initialiseAll();
    blockBarrier();
    if (warpgroupIndex() == 0) {
      keepRegisters<Tiles::kCopierRegisters>();
      if (threadIndex() == 0) copyForKeys(p, tile, walk, shared);
    } else {
      takeRegisters<Tiles::kMultiplierRegisters>();
      KeyGradient<kDropout>(p, tile, walk, shared).run();
    }
  }
}

}  // namespace

std::vector<KernelEntry> attentionHopperBackwardKernels() {
  return {kernelEntry<hopperQueryGradient<false>>(kHopperQueryGradient[0]),
          kernelEntry<hopperQueryGradient<true>>(kHopperQueryGradient[1]),
          kernelEntry<hopperKeyGradient<false>>(kHopperKeyGradient[0]),
          kernelEntry<hopperKeyGradient<true>>(kHopperKeyGradient[1])};
}

}  // namespace wgqa::cuda
