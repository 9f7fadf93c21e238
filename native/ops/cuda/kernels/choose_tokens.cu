// Choosing tokens from rows of logits, a block of threads per row. A row is read from the L2 cache
// (after the vocabulary's product) or L1 once for each of these:
//   its best token, which is all that greedy decoding takes;
//   the sum of its softmax, where log-probabilities are wanted;
//   its processed scores, where tokens are penalised or forbidden, or a temperature is given;
//   a selection: buckets of scores are counted, or their probabilities summed, until the bucket in
//   which the wanted number or probability is reached has few enough tokens to be sorted. Top-k,
//   top-p and beam search's candidates are selections;
//   a draw.
// What filters keep is always a beginning of the tokens in the order of their scores: it is kept as
// the place where that ends. Sums have a fixed order, so that a row's tokens are always the same.
#include "ops/cuda/kernels/choose_tokens.h"

#include "ops/cuda/kernels/constants.h"
#include "ops/cuda/kernels/groups.h"
#include "ops/cuda/kernels/random.h"
#include "ops/cuda/kernels/reduce.h"
#include "ops/cuda/kernels/registry.h"

namespace wgqa::cuda {
namespace {

constexpr int kWarps = kChooseThreads / kWarpThreads;
constexpr int kTokensPerPass = 4 * kChooseThreads;
static_assert(kWarps == kChooseBuckets);
static_assert(kChooseListed == 2 * kChooseThreads);

// ---------------------------------------------------------------------------- scores

// A row of scores as it is read.
struct Scores {
  const float* values;
  int vocab;
  float shift;   // added to each, which also makes -0 of it 0
  float offset;  // and then this

  WGQA_DEVICE float of(float value) const { return value + shift + offset; }
  WGQA_DEVICE float at(int token) const { return of(values[token]); }
};

// Numbers of which the smaller is the larger score's.
WGQA_DEVICE std::uint32_t orderOf(float score) {
  const std::uint32_t bits = floatBits(score);
  return (bits >> 31) != 0 ? bits : ~bits & 0x7fffffffu;
}
WGQA_DEVICE float scoreOf(std::uint32_t order) {
  return floatFromBits((order >> 31) != 0 ? order : ~order & 0x7fffffffu);
}

WGQA_DEVICE RankedToken ranked(float score, int token) {
  return RankedToken{orderOf(score)} << 32 | static_cast<std::uint32_t>(token);
}
WGQA_DEVICE std::uint32_t orderOf(RankedToken token) {
  return static_cast<std::uint32_t>(token >> 32);
}
WGQA_DEVICE float scoreOf(RankedToken token) { return scoreOf(orderOf(token)); }
WGQA_DEVICE int tokenOf(RankedToken token) { return static_cast<int>(token & 0x7fffffffu); }
// Behind all tokens of this order.
WGQA_DEVICE RankedToken endOf(std::uint32_t order) { return (RankedToken{order} + 1) << 32; }

// Of -infinity: all forbidden tokens are from here on.
constexpr RankedToken kForbiddenTokens = RankedToken{0xff800000u} << 32;
// Of a row that holds NaN or +infinity.
constexpr RankedToken kUnusable = 0;

// Tokens [begin, end) of a row as one thread reads them, four at a time: `first` and every `step`
// after it.
struct Walk {
  int first;
  int step;
  int end;
};

WGQA_DEVICE Walk walkRow(int vocab) { return {4 * threadIndex(), kTokensPerPass, vocab}; }

WGQA_DEVICE int validAt(int token, int end) { return end - token < 4 ? end - token : 4; }

// -infinity for what is not valid: a forbidden token.
WGQA_DEVICE FourFloats loadPart(const float* values, int valid, bool isAligned) {
  if (valid == 4 && isAligned) return loadFour(values, 4);
  FourFloats part;
  WGQA_UNROLL
  for (int i = 0; i < 4; ++i) part.values[i] = i < valid ? values[i] : -kInfinity;
  return part;
}

// Calls body(four values, their first token, how many are valid) in ascending order; kLoads loads
// are under way at once. Values that are not valid are -infinity.
template <int kLoads, typename Body>
WGQA_DEVICE void forGroups(const float* values, const Walk& walk, const Body& body) {
  const bool isAligned = isAlignedFor<4>(values);
  for (int begin = walk.first; begin < walk.end; begin += kLoads * walk.step) {
    FourFloats loaded[kLoads];
    if (isAligned && begin + (kLoads - 1) * walk.step + 4 <= walk.end) {
      WGQA_UNROLL
      for (int load = 0; load < kLoads; ++load) {
        const auto vector = loadVector<4>(values + begin + load * walk.step);
        WGQA_UNROLL
        for (int i = 0; i < 4; ++i) loaded[load].values[i] = vector.elements[i];
      }
    } else {
      WGQA_UNROLL
      for (int load = 0; load < kLoads; ++load) {
        const int first = begin + load * walk.step;
        loaded[load] = loadPart(values + first, validAt(first, walk.end), isAligned);
      }
    }
    WGQA_UNROLL
    for (int load = 0; load < kLoads; ++load) {
      const int first = begin + load * walk.step;
      body(loaded[load], first, validAt(first, walk.end));
    }
  }
}

// Calls body(score, token) in ascending order, and with -infinity for what is not valid.
template <int kLoads, typename Body>
WGQA_DEVICE void forTokens(const Scores& scores, const Walk& walk, const Body& body) {
  forGroups<kLoads>(scores.values, walk, [&](const FourFloats& four, int first, int) {
    WGQA_UNROLL
    for (int i = 0; i < 4; ++i) body(scores.of(four.values[i]), first + i);
  });
}
template <int kLoads, typename Body>
WGQA_DEVICE void forTokens(const Scores& scores, const Body& body) {
  forTokens<kLoads>(scores, walkRow(scores.vocab), body);
}

// ---------------------------------------------------------------------------- over the block

// Every thread gets the least; `shared` is free again.
WGQA_DEVICE RankedToken blockLeast(RankedToken value, RankedToken* shared) {
  WGQA_UNROLL
  for (int mask = kWarpThreads / 2; mask > 0; mask /= 2) {
    const RankedToken other = shuffleXor(value, mask);
    value = other < value ? other : value;
  }
  if (laneIndex() == 0) shared[warpIndex()] = value;
  blockBarrier();
  value = shared[0];
  for (int warp = 1; warp < kWarps; ++warp) value = shared[warp] < value ? shared[warp] : value;
  blockBarrier();
  return value;
}

template <typename T>
struct BlockScan {
  T before;  // the sum over the threads before this one
  T total;
};

// `shared` is free again.
template <typename T>
WGQA_DEVICE BlockScan<T> blockScan(T value, T* shared) {
  T through = value;
  WGQA_UNROLL
  for (int delta = 1; delta < kWarpThreads; delta *= 2) {
    const T below = shuffleUp(through, delta);
    if (laneIndex() >= delta) through += below;
  }
  const T below = shuffleUp(through, 1);
  if (laneIndex() == kWarpThreads - 1) shared[warpIndex()] = through;
  blockBarrier();
  BlockScan<T> scan{T{}, T{}};
  for (int warp = 0; warp < kWarps; ++warp) {
    if (warp == warpIndex()) scan.before = scan.total;
    scan.total += shared[warp];
  }
  if (laneIndex() > 0) scan.before += below;
  blockBarrier();
  return scan;
}

// Sorts list[0, count), in shared or device memory with room for the next power of two.
WGQA_DEVICE void sortList(RankedToken* list, int count) {
  int length = 1;
  while (length < count) length *= 2;
  for (int i = count + threadIndex(); i < length; i += kChooseThreads) list[i] = ~RankedToken{0};
  blockBarrier();
  for (int size = 2; size <= length; size *= 2) {
    for (int stride = size / 2; stride > 0; stride /= 2) {
      for (int i = threadIndex(); i < length / 2; i += kChooseThreads) {
        const int low = 2 * i - (i & (stride - 1));
        const RankedToken a = list[low];
        const RankedToken b = list[low + stride];
        if ((a > b) == ((low & size) == 0)) {
          list[low] = b;
          list[low + stride] = a;
        }
      }
      blockBarrier();
    }
  }
}

// ---------------------------------------------------------------------------- whole rows

WGQA_DEVICE RankedToken bestOf(const Scores& scores, ChooseShared& shared) {
  float best = -kInfinity;
  int token = scores.vocab;
  bool isUsable = true;
  forTokens<4>(scores, [&](float score, int t) {
    isUsable &= score < kInfinity;  // false for NaN, too
    token = score > best ? t : token;
    best = score > best ? score : best;
  });
  return blockLeast(isUsable ? ranked(best, token) : kUnusable, shared.least);
}

WGQA_DEVICE float logSumExp(const Scores& scores, float max, ChooseShared& shared) {
  float sum = 0.0f;
  forTokens<2>(scores, [&](float score, int) { sum += expf(score - max); });
  const double total = blockSum(static_cast<double>(sum), shared.sums);
  blockBarrier();
  return max + logf(static_cast<float>(total));
}

WGQA_DEVICE bool isProcessed(const RowChoice& choice) {
  const bool penalises =
      choice.repetitionPenalty != 1.0f && choice.penalised.begin < choice.penalised.end;
  return penalises || choice.forbidden.begin < choice.forbidden.end || choice.temperature != 1.0f;
}

// Writes the processed scores. Each penalised token is computed from what it was, however often it
// is listed.
WGQA_DEVICE void process(const RowChoice& choice, const std::int32_t* tokens, const Scores& from,
                         float* to) {
  const float temperature = choice.temperature;
  forGroups<2>(from.values, walkRow(from.vocab), [&](const FourFloats& four, int first, int valid) {
    if (valid <= 0) return;
    FourFloats scores;
    WGQA_UNROLL
    for (int i = 0; i < 4; ++i) scores.values[i] = from.of(four.values[i]) / temperature;
    storeFour(scores, to + first, valid);
  });
  blockBarrier();
  if (choice.repetitionPenalty != 1.0f) {
    const float penalty = choice.repetitionPenalty;
    const int end = choice.penalised.end;
    for (int i = choice.penalised.begin + threadIndex(); i < end; i += kChooseThreads) {
      const float score = from.at(tokens[i]);
      to[tokens[i]] = (score < 0.0f ? score * penalty : score / penalty) / temperature;
    }
    blockBarrier();
  }
  const int end = choice.forbidden.end;
  for (int i = choice.forbidden.begin + threadIndex(); i < end; i += kChooseThreads) {
    to[tokens[i]] = -kInfinity;
  }
  blockBarrier();
}

// ---------------------------------------------------------------------------- selections

// Scores that have their first digits in common, of 16 bits of their distance to the best score (in
// steps of 2^-11, what is 32 below or more is one) and then 32 bits of their order. A digit has 4
// bits. Buckets are in the order of their scores.
struct Bucket {
  int distanceShift = 16;
  std::uint32_t distance = 0;
  int orderShift = 32;
  std::uint32_t order = 0;

  WGQA_DEVICE bool isOneScore() const { return distanceShift == 0 && orderShift == 0; }
  WGQA_DEVICE void narrow(int digit) {
    if (distanceShift > 0) {
      distanceShift -= 4;
      distance = distance << 4 | static_cast<std::uint32_t>(digit);
    } else {
      orderShift -= 4;
      order = order << 4 | static_cast<std::uint32_t>(digit);
    }
  }
};

WGQA_DEVICE std::uint32_t distanceOf(float score, float max) {
  return static_cast<std::uint32_t>(fminf((max - score) * 2048.0f, 65535.0f));
}

// The next digit of a score in the bucket, -1 for one before it, 16 for one behind.
WGQA_DEVICE int digitIn(const Bucket& bucket, float score, float max) {
  const std::uint32_t distance = distanceOf(score, max);
  const std::uint32_t common = distance >> bucket.distanceShift;
  if (common != bucket.distance) return common < bucket.distance ? -1 : kChooseBuckets;
  if (bucket.distanceShift > 0) return distance >> (bucket.distanceShift - 4) & 15;
  const std::uint64_t order = orderOf(score);
  const auto commonOrder = static_cast<std::uint32_t>(order >> bucket.orderShift);
  if (commonOrder != bucket.order) return commonOrder < bucket.order ? -1 : kChooseBuckets;
  return bucket.orderShift > 0 ? order >> (bucket.orderShift - 4) & 15 : 0;
}

// What a selection goes up to: so many tokens, or the one at which exp(score - max) sum to so much.
struct Wanted {
  bool isMass;
  double amount;

  WGQA_DEVICE bool isReached(int tokens, double mass) const {
    return (isMass ? mass : static_cast<double>(tokens)) >= amount;
  }
};

struct Selected {
  bool isFound;      // false if all tokens together do not come to what was wanted
  RankedToken last;  // the one at which they do
  int through;       // tokens as good as it or better: so many at most
  bool isListed;     // those are in the list, sorted
  int listed;
};

// A selection under way over the tokens before `end`, of which there are `tokensIn` at most.
struct Selection {
  const Scores& scores;
  float max;
  RankedToken end;
  Wanted wanted;
  ChooseShared& shared;
  Bucket bucket;
  int tokensIn;      // in the bucket
  int tokensBefore;  // it
  double massBefore;

  // Finds the part of the bucket in which the wanted amount is reached, or its last that is not
  // empty. False if there is none or it isn't reached by number.
  WGQA_DEVICE bool split() {
    BucketSum(&columns)[kChooseBuckets][kChooseThreads] = shared.columns;
    const int thread = threadIndex();
    WGQA_UNROLL
    for (int digit = 0; digit < kChooseBuckets; ++digit) columns[digit][thread] = {0.0f, 0};
    forTokens<2>(scores, [&](float score, int token) {
      if (ranked(score, token) >= end) return;
      const int digit = digitIn(bucket, score, max);
      if (digit < 0 || digit >= kChooseBuckets) return;
      BucketSum sum = columns[digit][thread];
      if (wanted.isMass) sum.mass += expf(score - max);
      ++sum.tokens;
      columns[digit][thread] = sum;
    });
    blockBarrier();
    addColumns();
    return narrow();
  }

  // Warp i adds up bucket i.
  WGQA_DEVICE void addColumns() {
    double mass = 0.0;
    int tokens = 0;
    for (int i = laneIndex(); i < kChooseThreads; i += kWarpThreads) {
      const BucketSum sum = shared.columns[warpIndex()][i];
      mass += sum.mass;
      tokens += sum.tokens;
    }
    mass = warpSum(mass);
    tokens = warpSum(tokens);
    if (laneIndex() == 0) {
      shared.masses[warpIndex()] = mass;
      shared.tokens[warpIndex()] = tokens;
    }
    blockBarrier();
  }

  WGQA_DEVICE bool narrow() {
    int digit = -1;
    bool isReached = false;
    for (int next = 0; next < kChooseBuckets && !isReached; ++next) {
      if (shared.tokens[next] == 0) continue;
      if (digit >= 0) {
        tokensBefore += shared.tokens[digit];
        massBefore += shared.masses[digit];
      }
      digit = next;
      isReached =
          wanted.isReached(tokensBefore + shared.tokens[next], massBefore + shared.masses[next]);
    }
    if (digit < 0 || !(isReached || wanted.isMass)) return false;
    tokensIn = shared.tokens[digit];
    bucket.narrow(digit);
    return true;
  }

  // Lists the bucket, and what is before it if that fits, too; then the list begins with the best.
  WGQA_DEVICE Selected list() {
    const bool listsAll = tokensBefore + tokensIn <= kChooseListed;
    const int listed = collect(listsAll);
    sortList(shared.list, listed);
    const int place = listsAll ? 0 : tokensBefore;  // of the list's first
    const int index = wanted.isMass ? indexByMass(listed, listsAll ? 0.0 : massBefore)
                                    : static_cast<int>(wanted.amount) - 1 - place;
    const bool isFound = index < listed;
    return {isFound, isFound ? shared.list[index] : 0, place + listed, listsAll, listed};
  }

  WGQA_DEVICE int collect(bool listsAll) {
    if (threadIndex() == 0) shared.listed = 0;
    blockBarrier();
    forTokens<2>(scores, [&](float score, int token) {
      if (ranked(score, token) >= end) return;
      const int digit = digitIn(bucket, score, max);
      if (digit >= kChooseBuckets || (digit < 0 && !listsAll)) return;
      shared.list[atomicAddTo(&shared.listed, 1)] = ranked(score, token);
    });
    blockBarrier();
    return shared.listed;
  }

  // The first place of the sorted list at which the mass is reached.
  WGQA_DEVICE int indexByMass(int listed, double before) {
    const int own = 2 * threadIndex();
    double masses[2];
    WGQA_UNROLL
    for (int i = 0; i < 2; ++i) {
      masses[i] = own + i < listed ? expf(scoreOf(shared.list[own + i]) - max) : 0.0f;
    }
    const double sum = before + blockScan(masses[0] + masses[1], shared.sums).before;
    RankedToken index = kChooseListed;
    if (own + 1 < listed && sum + (masses[0] + masses[1]) >= wanted.amount) index = own + 1;
    if (own < listed && sum + masses[0] >= wanted.amount) index = own;
    return static_cast<int>(blockLeast(index, shared.least));
  }

  // The bucket's tokens have one score: they count in the order of their ids.
  WGQA_DEVICE Selected amongEquals() {
    const float score = scoreOf(bucket.order);
    const double left = wanted.isMass ? ceil((wanted.amount - massBefore) / expf(score - max))
                                      : wanted.amount - tokensBefore;
    const int through = tokensBefore + tokensIn;
    if (!(left <= tokensIn)) return {false, 0, through, false, 0};
    const int token = equalToken(left > 1.0 ? static_cast<int>(left) - 1 : 0);
    return {true, ranked(score, token), through, false, 0};
  }

  // Of the tokens with the bucket's score, the one with `index` before it.
  WGQA_DEVICE int equalToken(int index) {
    const bool isAligned = isAlignedFor<4>(scores.values);
    for (int begin = 0; begin < scores.vocab; begin += kTokensPerPass) {
      const int first = begin + 4 * threadIndex();
      const FourFloats four =
          loadPart(scores.values + first, validAt(first, scores.vocab), isAligned);
      std::uint32_t equal = 0;
      int count = 0;
      WGQA_UNROLL
      for (int i = 0; i < 4; ++i) {
        const bool isEqual = orderOf(scores.of(four.values[i])) == bucket.order;
        equal |= std::uint32_t{isEqual} << i;
        count += isEqual;
      }
      const BlockScan<int> scan = blockScan(count, shared.counts);
      if (index >= scan.total) {
        index -= scan.total;
        continue;
      }
      int left = index - scan.before;
      WGQA_UNROLL
      for (int i = 0; i < 4; ++i) {
        if ((equal >> i & 1) != 0 && left-- == 0) shared.found = first + i;
      }
      break;
    }
    blockBarrier();
    const int token = shared.found;
    blockBarrier();
    return token;
  }
};

WGQA_DEVICE Selected select(const Scores& scores, float max, RankedToken end, int tokens,
                            const Wanted& wanted, ChooseShared& shared) {
  Selection selection{scores, max, end, wanted, shared, Bucket{}, tokens, 0, 0.0};
  while (selection.tokensIn > kChooseListed) {
    if (selection.bucket.isOneScore()) return selection.amongEquals();
    if (!selection.split()) return {false, 0, tokens, false, 0};
  }
  return selection.list();
}

// ---------------------------------------------------------------------------- filters

// Each warp's part of the row for sums in the order of the tokens: a multiple of four of them.
WGQA_DEVICE int tokensOfWarp(int vocab) { return ((vocab + kWarps - 1) / kWarps + 3) / 4 * 4; }

// Leaves in shared.ranges the sums of exp(score - max) over the warps' tokens before `end`; returns
// their sum.
WGQA_DEVICE double sumRanges(const Scores& scores, float max, RankedToken end,
                             ChooseShared& shared) {
  const int span = tokensOfWarp(scores.vocab);
  const int stop =
      (warpIndex() + 1) * span < scores.vocab ? (warpIndex() + 1) * span : scores.vocab;
  float mass = 0.0f;
  const Walk walk{warpIndex() * span + 4 * laneIndex(), 4 * kWarpThreads, stop};
  forTokens<2>(scores, walk, [&](float score, int token) {
    if (ranked(score, token) < end) mass += expf(score - max);
  });
  const double sum = warpSum(static_cast<double>(mass));
  blockBarrier();  // the ranges before may still be read
  if (laneIndex() == 0) shared.ranges[warpIndex()] = sum;
  blockBarrier();
  double total = 0.0;
  for (int warp = 0; warp < kWarps; ++warp) total += shared.ranges[warp];
  return total;
}

// Where the tokens end that the filters keep.
WGQA_DEVICE RankedToken keptEnd(const RowChoice& choice, const Scores& scores, RankedToken best,
                                ChooseShared& shared) {
  const float max = scoreOf(best);
  RankedToken end = kForbiddenTokens;
  RankedToken least = best;  // up to which tokens stay in any case
  int kept = scores.vocab;   // at most
  // Filters in a loop, so that the selection is there once.
  enum Filter { kTopK, kMinTokens, kTopP, kFilters };
  for (int filter = kTopK; filter < kFilters; ++filter) {
    Wanted wanted{false, 0.0};
    if (filter == kTopK && choice.topK > 0) {
      wanted.amount = choice.topK > choice.minTokens ? choice.topK : choice.minTokens;
      if (wanted.amount >= scores.vocab) continue;
    } else if (filter == kMinTokens && choice.minTokens > 1) {
      if (choice.topP < 1.0 || choice.minP > 0.0) wanted.amount = choice.minTokens;
    } else if (filter == kTopP && choice.topP < 1.0) {
      wanted = {true, choice.topP * sumRanges(scores, max, end, shared)};
    }
    if (wanted.amount <= 0.0) continue;
    const Selected selected = select(scores, max, end, kept, wanted, shared);
    const RankedToken last = selected.isFound ? selected.last : kForbiddenTokens - 1;
    if (filter == kMinTokens) {
      least = last;
      continue;
    }
    const RankedToken limit =
        filter == kTopK ? endOf(orderOf(last)) : (last > least ? last : least) + 1;
    if (selected.isFound && limit < end) {
      end = limit;
      kept = selected.through < kept ? selected.through : kept;
    }
  }
  if (choice.minP > 0.0) {
    const std::uint32_t order = orderOf(max + static_cast<float>(log(choice.minP)));
    const RankedToken limit = endOf(order > orderOf(least) ? order : orderOf(least));
    end = limit < end ? limit : end;
  }
  return end;
}

// ---------------------------------------------------------------------------- taking

// What is told of a token.
struct Report {
  const Scores& scores;  // processed, with the offset
  const float* logits;
  float logSum;
  bool logProbs;

  WGQA_DEVICE ChosenToken of(int token) const {
    const float score = scores.at(token);
    return {token, score, score, logProbs ? logits[token] - logSum : 0.0f};
  }
};

WGQA_DEVICE void fillChosen(ChosenToken* chosen, int begin, int count, std::int32_t token) {
  for (int i = begin + threadIndex(); i < count; i += kChooseThreads) {
    chosen[i] = {token, 0.0f, 0.0f, 0.0f};
  }
}

// The token before `end` at which the sum of exp(score - max) passes `left`, from the beginning of
// a warp's part on; if rounding keeps it from that, the last one that counts.
WGQA_DEVICE int drawIn(const Scores& scores, float max, RankedToken end, int warp, double left,
                       ChooseShared& shared) {
  constexpr RankedToken kNotPassed = RankedToken{1} << 32;
  const int span = tokensOfWarp(scores.vocab);
  const int stop = (warp + 1) * span < scores.vocab ? (warp + 1) * span : scores.vocab;
  int lastToken = 0;
  for (int begin = warp * span; begin < stop; begin += kTokensPerPass) {
    const int first = begin + 4 * threadIndex();
    const FourFloats four =
        loadPart(scores.values + first, validAt(first, stop), isAlignedFor<4>(scores.values));
    double through[4];
    double sum = 0.0;
    bool counts[4];
    WGQA_UNROLL
    for (int i = 0; i < 4; ++i) {
      const float score = scores.of(four.values[i]);
      counts[i] = ranked(score, first + i) < end;
      if (counts[i]) sum += expf(score - max);
      through[i] = sum;
    }
    const BlockScan<double> scan = blockScan(sum, shared.sums);
    // The first token that passes; if none does, the last one that counts.
    RankedToken own = ~RankedToken{0};
    WGQA_UNROLL
    for (int i = 3; i >= 0; --i) {
      if (!counts[i]) continue;
      const auto token = static_cast<std::uint32_t>(first + i);
      if (scan.before + through[i] > left) {
        own = token;
      } else if (own == ~RankedToken{0}) {
        own = kNotPassed | (0x7fffffffu - token);
      }
    }
    const RankedToken found = blockLeast(own, shared.least);
    if (found < kNotPassed) return static_cast<int>(found);
    if (found != ~RankedToken{0}) lastToken = static_cast<int>(0x7fffffffu - (found & 0x7fffffffu));
    left -= scan.total;
  }
  return lastToken;
}

WGQA_DEVICE void takeDraws(const RowChoice& choice, const double* uniforms, const Scores& scores,
                           float max, RankedToken end, const Report& report, ChosenToken* chosen,
                           ChooseShared& shared) {
  const double total = sumRanges(scores, max, end, shared);
  for (int draw = 0; draw < choice.count; ++draw) {
    double left = uniforms[choice.uniforms.begin + draw] * total;
    int warp = 0;
    double before = 0.0;
    for (int next = 0; next < kWarps; ++next) {
      const double mass = shared.ranges[next];
      if (mass <= 0.0) continue;
      left -= before;
      warp = next;
      before = mass;
      if (left < mass) break;
    }
    const int token = drawIn(scores, max, end, warp, left, shared);
    if (threadIndex() == 0) chosen[draw] = report.of(token);
  }
}

// The key of each of Philox's rounds, as random.h has them.
WGQA_DEVICE DropoutArguments noiseOf(const RowChoice& choice) {
  DropoutArguments noise{};
  noise.stream = choice.stream;
  WGQA_UNROLL
  for (int round = 0; round < kPhiloxRounds; ++round) {
    noise.roundKeys[2 * round] =
        static_cast<std::uint32_t>(choice.seed) + kPhiloxWeyl0 * static_cast<std::uint32_t>(round);
    noise.roundKeys[2 * round + 1] = static_cast<std::uint32_t>(choice.seed >> 32) +
                                     kPhiloxWeyl1 * static_cast<std::uint32_t>(round);
  }
  return noise;
}

WGQA_DEVICE float gumbelFrom(std::uint32_t word) {
  const float uniform = (static_cast<float>(word >> 9) + 0.5f) * (1.0f / 8388608.0f);
  return -logf(-logf(uniform));
}

// Writes what candidates are compared by: scores before `end` with their noise and offset.
WGQA_DEVICE void writeRanks(const RowChoice& choice, const Scores& scores, RankedToken end,
                            float* ranks) {
  const DropoutArguments noise = noiseOf(choice);
  const bool isNoisy = choice.take == Take::drawnCandidates;
  const std::uint32_t row = choice.noiseRow;
  const float offset = choice.offset;
  forGroups<1>(
      scores.values, walkRow(scores.vocab), [&](const FourFloats& four, int first, int valid) {
        if (valid <= 0) return;
        FourFloats result;
        bool isAnyKept = false;
        WGQA_UNROLL
        for (int i = 0; i < 4; ++i) {
          const float score = scores.of(four.values[i]);
          const bool isKept = ranked(score, first + i) < end;
          result.values[i] = isKept ? score : -kInfinity;
          isAnyKept |= isKept;
        }
        if (isNoisy && isAnyKept) {
          const RandomWords words = randomWords(noise, row, static_cast<std::uint32_t>(first) / 4);
          WGQA_UNROLL
          for (int i = 0; i < 4; ++i) result.values[i] += gumbelFrom(words.words[i]);
        }
        WGQA_UNROLL
        for (int i = 0; i < 4; ++i) result.values[i] += offset;
        storeFour(result, ranks + first, valid);
      });
  blockBarrier();
}

// Lists the tokens before `end`, sorted. Returns their number.
WGQA_DEVICE int listBefore(const Scores& scores, RankedToken end, RankedToken* list,
                           ChooseShared& shared) {
  if (threadIndex() == 0) shared.listed = 0;
  blockBarrier();
  forTokens<2>(scores, [&](float score, int token) {
    const RankedToken entry = ranked(score, token);
    if (entry < end) list[atomicAddTo(&shared.listed, 1)] = entry;
  });
  blockBarrier();
  const int listed = shared.listed;
  sortList(list, listed);
  return listed;
}

WGQA_DEVICE void takeCandidates(const ChooseTokensArguments& p, const RowChoice& choice,
                                const Scores& ranks, float max, const Report& report,
                                ChosenToken* chosen, ChooseShared& shared) {
  const Wanted wanted{false, static_cast<double>(choice.count)};
  const Selected selected = select(ranks, max, kForbiddenTokens, ranks.vocab, wanted, shared);
  RankedToken* list = shared.list;
  int listed = selected.listed;
  if (!selected.isListed) {
    if (choice.count > kChooseListed) list = p.lists + blockX() * p.listLength;
    listed =
        listBefore(ranks, selected.isFound ? selected.last + 1 : kForbiddenTokens, list, shared);
  }
  listed = listed < choice.count ? listed : choice.count;
  for (int i = threadIndex(); i < listed; i += kChooseThreads) {
    ChosenToken taken = report.of(tokenOf(list[i]));
    taken.rank = scoreOf(list[i]);
    chosen[i] = taken;
  }
  fillChosen(chosen, listed, choice.count, kNoToken);
}

WGQA_KERNEL void WGQA_BOUNDS(kChooseThreads, 1) chooseTokens(ChooseTokensArguments p) {
  ChooseShared& shared = *dynamicShared<ChooseShared>();
  const RowChoice& choice = p.choices[blockX()];
  const float* logits = p.logits + choice.row * p.logitsStride;
  ChosenToken* chosen = p.chosen + choice.firstResult;
  Scores scores{logits, p.vocab, 0.0f, 0.0f};
  RankedToken best = bestOf(scores, shared);
  if (best == kUnusable || best >= kForbiddenTokens) {
    return fillChosen(chosen, 0, choice.count, kUnusableRow);
  }
  float logSum = 0.0f;
  if (choice.logProbs || choice.logSoftmaxFirst) logSum = logSumExp(scores, scoreOf(best), shared);
  if (choice.logSoftmaxFirst) {
    scores.shift = -logSum;
    best = ranked(scores.of(scoreOf(best)), tokenOf(best));
  }
  if (isProcessed(choice)) {
    float* processed = p.scores + blockX() * p.scoresStride;
    process(choice, p.tokens, scores, processed);
    scores = {processed, p.vocab, 0.0f, 0.0f};
    best = bestOf(scores, shared);
  }
  if (best >= kForbiddenTokens) return fillChosen(chosen, 0, choice.count, kNoToken);
  Scores withOffset = scores;
  withOffset.offset = choice.offset;
  const Report report{withOffset, logits, logSum, choice.logProbs};
  if (choice.take == Take::best) {
    if (threadIndex() == 0) chosen[0] = report.of(tokenOf(best));
    return;
  }
  const RankedToken end = keptEnd(choice, scores, best, shared);
  if (choice.take == Take::draws) {
    return takeDraws(choice, p.uniforms, scores, scoreOf(best), end, report, chosen, shared);
  }
  Scores ranks = withOffset;
  float max = scoreOf(best) + choice.offset;
  if (choice.take == Take::drawnCandidates || end != kForbiddenTokens) {
    float* written = p.ranks + blockX() * p.scoresStride;
    writeRanks(choice, scores, end, written);
    ranks = {written, p.vocab, 0.0f, 0.0f};
    max = scoreOf(bestOf(ranks, shared));
  }
  takeCandidates(p, choice, ranks, max, report, chosen, shared);
}

}  // namespace

std::vector<KernelEntry> chooseTokensKernels() {
  return {kernelEntry<chooseTokens>(kChooseTokens)};
}

}  // namespace wgqa::cuda
