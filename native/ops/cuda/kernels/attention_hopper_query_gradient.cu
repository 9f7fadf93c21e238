// The gradients of queries, and of T5's bias, on Hopper's tensor cores.
#include "ops/cuda/kernels/attention_hopper_gradient_tile.h"
#include "ops/cuda/kernels/registry.h"

namespace wgqa::cuda {
namespace {

/// One thread's work: the block's queries and their gradOut, then keys and values.
WGQA_DEVICE void copyForQueries(const AttentionHopperBackwardArguments& p, const QueryTile& tile,
                                int tiles, unsigned char* shared) {
  using Tiles = HopperQueryGradientTiles;
  GradientBarriers& barriers = barriersIn<Tiles>(shared);
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
    GradientBarriers& barriers = barriersIn<Tiles>(shared_);
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
    GradientBarriers& barriers = barriersIn<Tiles>(shared_);
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

}  // namespace

std::vector<KernelEntry> attentionHopperQueryGradientKernels() {
  return {kernelEntry<hopperQueryGradient<false>>(kHopperQueryGradient[0]),
          kernelEntry<hopperQueryGradient<true>>(kHopperQueryGradient[1])};
}

}  // namespace wgqa::cuda
