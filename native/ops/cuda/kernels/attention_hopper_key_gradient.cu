// The gradients of keys and values on Hopper's tensor cores.
#include "ops/cuda/kernels/attention_hopper_gradient_tile.h"
#include "ops/cuda/kernels/registry.h"

namespace wgqa::cuda {
namespace {

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
  GradientBarriers& barriers = barriersIn<Tiles>(shared);
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
    GradientBarriers& barriers = barriersIn<Tiles>(shared_);
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
    GradientBarriers& barriers = barriersIn<Tiles>(shared_);
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

std::vector<KernelEntry> attentionHopperKeyGradientKernels() {
  return {kernelEntry<hopperKeyGradient<false>>(kHopperKeyGradient[0]),
          kernelEntry<hopperKeyGradient<true>>(kHopperKeyGradient[1])};
}

}  // namespace wgqa::cuda
