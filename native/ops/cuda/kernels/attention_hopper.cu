// Attention over whole sequences on Hopper's tensor cores, after FlashAttention-3 (Shah et al.
// 2024, arXiv 2407.08608): one warpgroup of a block copies keys and values, the others multiply
// straight from shared memory, and the next scores are computed while probabilities meet their
// values.
#include "ops/cuda/kernels/attention_hopper.h"

#include "ops/cuda/kernels/attention_softmax.h"
#include "ops/cuda/kernels/registry.h"

namespace wgqa::cuda {
namespace {

// ---------------------------------------------------------------------------- keys under way

template <typename Tiles>
struct Barriers {
  SharedBarrier queries;
  RingBarriers<Tiles::kStages, 4 * Tiles::kMultipliers> keys;
  RingBarriers<Tiles::kStages, 4 * Tiles::kMultipliers> values;
};

/// What all threads of the block see of its shared memory.
template <typename Tiles>
struct SharedParts {
  unsigned char* base;

  WGQA_DEVICE Barriers<Tiles>& barriers() const {
    static_assert(sizeof(Barriers<Tiles>) <= Tiles::kBiasAt - Tiles::kBarriersAt);
    return *reinterpret_cast<Barriers<Tiles>*>(base + Tiles::kBarriersAt);
  }
  WGQA_DEVICE float* bias() const { return reinterpret_cast<float*>(base + Tiles::kBiasAt); }
  WGQA_DEVICE unsigned char* keys(int i) const {
    return base + Tiles::kKeysAt + i % Tiles::kStages * Tiles::Keys::kBytes;
  }
  WGQA_DEVICE unsigned char* values(int i) const {
    return base + Tiles::kValuesAt + i % Tiles::kStages * Tiles::Keys::kBytes;
  }
};

/// One thread's work: the queries, then keys and values as their places become empty.
template <typename Tiles>
WGQA_DEVICE void copyTiles(const AttentionHopperArguments& p, const QueryTile& tile, int tiles,
                           const SharedParts<Tiles>& shared) {
  Barriers<Tiles>& barriers = shared.barriers();
  arriveExpecting(barriers.queries, Tiles::Queries::kBytes);
  Tiles::Queries::copy(shared.base, p.q, tile.head, tile.queryOffset + tile.first,
                       barriers.queries);
  for (int i = 0; i < tiles; ++i) {
    const int token = tile.keyOffset + i * Tiles::kKeys;
    SharedBarrier& keysFull = barriers.keys.fill(i, Tiles::Keys::kBytes);
    Tiles::Keys::copy(shared.keys(i), p.k, tile.kvHead, token, keysFull);
    SharedBarrier& valuesFull = barriers.values.fill(i, Tiles::Keys::kBytes);
    Tiles::Keys::copy(shared.values(i), p.v, tile.kvHead, token, valuesFull);
  }
}

// ---------------------------------------------------------------------------- a warpgroup's
// queries

/// A warpgroup's 64 queries: of each lane, two rows.
template <int kHeadDim, bool kDropout, typename T>
class Attending {
  using Tiles = AttentionHopperTiles<kHeadDim, kDropout>;
  using Scores = float[Tiles::kPieces][1][Tiles::kPieceKeys / 8][4];
  using Probabilities = std::uint32_t[Tiles::kKeys / 16][4];

 public:
  WGQA_DEVICE Attending(const AttentionHopperArguments& p, const QueryTile& tile,
                        const SharedParts<Tiles>& shared)
      : p_(p),
        shared_(shared),
        groupRow_((warpgroupIndex() - 1) * 64),
        warp_(warpQueries<16>(p.shape, tile, groupRow_ + warpIndex() % 4 * 16)),
        tiles_(tilesOf(keysSeen(p.shape, tile, groupRow_, 64), Tiles::kKeys)) {
    clear(rows_);
  }

  /// `tilesOfBlock`: as many as are copied; those that this warpgroup does not see are let pass.
  WGQA_DEVICE void run(int tilesOfBlock) {
    Barriers<Tiles>& barriers = shared_.barriers();
    waitFor(barriers.queries, 0);
    if (tiles_ > 0) attend();
    for (int i = tiles_; i < tilesOfBlock; ++i) {
      barriers.keys.letPass(i);
      barriers.values.letPass(i);
    }
    storeAttended<T>(p_, blockTile(p_), warp_.row, rows_, out_);
  }

 private:
  WGQA_DEVICE void attend() {
    Scores scores;
    Probabilities probabilities;
    float ratios[2];
    beginScores(0, scores);
    waitForProducts<0>(flat(scores));
    shared_.barriers().keys.release(0);
    weigh(0, scores, ratios);  // nothing is summed yet
    roundFragment<T>(scores, probabilities);
    for (int i = 1; i < tiles_; ++i) {
      beginScores(i, scores);
      beginOutputs(i - 1, probabilities);
      waitForProducts<1>(flat(scores));
      shared_.barriers().keys.release(i);
      const bool isRaised = weigh(i, scores, ratios);
      waitForProducts<0>(flat(out_));
      shared_.barriers().values.release(i - 1);
      if (isRaised) scaleRows(ratios, out_);
      roundFragment<T>(scores, probabilities);
    }
    beginOutputs(tiles_ - 1, probabilities);
    waitForProducts<0>(flat(out_));
    shared_.barriers().values.release(tiles_ - 1);
  }

  WGQA_DEVICE void beginScores(int i, Scores& scores) {
    shared_.barriers().keys.waitUntilFull(i);
    beginProducts();
    beginRowProducts<T, typename Tiles::Queries, typename Tiles::Keys>(
        Tiles::Queries::matrix(shared_.base, groupRow_), Tiles::Keys::matrix(shared_.keys(i), 0),
        flat(scores));
    commitProducts();
  }

  WGQA_DEVICE void beginOutputs(int i, const Probabilities& probabilities) {
    shared_.barriers().values.waitUntilFull(i);
    // Behind the last key there are another sequence's: their weights are 0, but 0 times infinity
    // would not be.
    const int left = warp_.keys - i * Tiles::kKeys;
    if (left < Tiles::kKeys) Tiles::Keys::clearRows(shared_.values(i), left, Tiles::kKeys);
    beginProducts();
    beginFragmentProducts<T, typename Tiles::Keys>(
        probabilities, Tiles::Keys::matrix(shared_.values(i), 0), flat(out_));
    commitProducts();
  }

  /// Scores of tile i become probabilities but for their rows' common factor. Whether what was
  /// summed before is to be multiplied by the ratios.
  WGQA_DEVICE bool weigh(int i, Scores& scores, float (&ratios)[2]) {
    ScoreTerms terms[Tiles::kPieces];
    float largest[2] = {kMinusInfinity, kMinusInfinity};
    WGQA_UNROLL
    for (int piece = 0; piece < Tiles::kPieces; ++piece) {
      const int firstKey = firstKeyOf(i, piece);
      terms[piece] = addBias<true>(p_.shape.bias, shared_.bias(), p_.shape.scale * kLog2E,
                                   firstKey - warp_.position, scores[piece]);
      maskKeys(p_.shape.causal, warp_.position, firstKey, warp_.keys, scores[piece]);
      float own[2];
      largestOfLane(scores[piece], own);
      WGQA_UNROLL
      for (int r = 0; r < 2; ++r) {
        largest[r] =
            fmaxf(largest[r], fusedMultiplyAdd(own[r], terms[piece].factor, terms[piece].offset));
      }
    }
    largestOfRows(largest);
    const bool isRaised = raiseReferences(largest, rows_, ratios);
    WGQA_UNROLL
    for (int piece = 0; piece < Tiles::kPieces; ++piece) {
      exponentiate(terms[piece], rows_, scores[piece]);
      if constexpr (kDropout) drop(firstKeyOf(i, piece), scores[piece]);
    }
    return isRaised;
  }

  WGQA_DEVICE void drop(int firstKey, float (&piece)[1][Tiles::kPieceKeys / 8][4]) {
    const std::uint32_t kept = keptOfKeyColumns<1, Tiles::kPieceKeys / 8>(
        p_.shape.dropout, warp_.dropoutRow, p_.shape.heads, firstKey);
    applyKept(kept, 1.0f, piece);
  }

  WGQA_DEVICE static int firstKeyOf(int i, int piece) {
    return i * Tiles::kKeys + piece * Tiles::kPieceKeys;
  }

  const AttentionHopperArguments& p_;
  SharedParts<Tiles> shared_;
  int groupRow_;  // of the tile: the warpgroup's row 0
  WarpQueries warp_;
  int tiles_;  // of keys that some of its queries see
  SoftmaxRows<2> rows_;
  float out_[1][kHeadDim / 8][4] = {};
};

template <int kHeadDim, bool kDropout, typename T>
WGQA_KERNEL void WGQA_BOUNDS((AttentionHopperTiles<kHeadDim, kDropout>::kThreads), 1)
    attentionHopper(WGQA_CONSTANT_ARGUMENTS(AttentionHopperArguments) p) {
  if constexpr (kHasHopper) {
    using Tiles = AttentionHopperTiles<kHeadDim, kDropout>;
    const SharedParts<Tiles> shared{dynamicShared<unsigned char>()};
    const QueryTile tile = blockTile(p);
    const int tiles = tilesOf(keysSeen(p.shape, tile, 0, Tiles::kQueries), Tiles::kKeys);
    if (threadIndex() == 0) {
      Barriers<Tiles>& barriers = shared.barriers();
      initialise(barriers.queries, 1);
      barriers.keys.initialiseAll();
      barriers.values.initialiseAll();
      publishBarriers();
    }
    loadBiasWindow(p.shape.bias, tile.head, shared.bias());
    blockBarrier();
    if (warpgroupIndex() == 0) {
      keepRegisters<Tiles::kCopierRegisters>();
      if (threadIndex() == 0) copyTiles<Tiles>(p, tile, tiles, shared);
    } else {
      takeRegisters<Tiles::kMultiplierRegisters>();
      Attending<kHeadDim, kDropout, T>(p, tile, shared).run(tiles);
    }
  }
}

}  // namespace

std::vector<KernelEntry> attentionHopperKernels() {
  using BFloat16 = BFloat16Element;
  using Float16 = Float16Element;
  return {kernelEntry<attentionHopper<64, false, BFloat16>>(kAttentionHopper64),
          kernelEntry<attentionHopper<64, true, BFloat16>>(kAttentionHopperDropout64),
          kernelEntry<attentionHopper<64, false, Float16>>(kAttentionHopperFloat16Of64),
          kernelEntry<attentionHopper<128, false, BFloat16>>(kAttentionHopper128),
          kernelEntry<attentionHopper<128, true, BFloat16>>(kAttentionHopperDropout128),
          kernelEntry<attentionHopper<128, false, Float16>>(kAttentionHopperFloat16Of128)};
}

}  // namespace wgqa::cuda
