#include "ops/cpu/row_products.h"

#include <algorithm>

#include "base/parallel.h"
#include "ops/cpu/grain.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/row_products.cc"
#include "hwy/foreach_target.h"

#include "ops/cpu/simd_inl.h"
#include "ops/cpu/tile_math_inl.h"

#ifndef WGQA_OPS_CPU_ROW_PRODUCTS_CC_
#define WGQA_OPS_CPU_ROW_PRODUCTS_CC_
namespace wgqa::cpu {

// A packed row of x is padded with zeros to a multiple of this: a vector of any target.
constexpr std::int64_t kPadding = 16;

// Threads get whole cache lines of the output, for about so many bytes of weights at a time: memory
// serves them unevenly, and who is done first takes more.
constexpr std::int64_t kFeatureGrain = 16;
constexpr std::int64_t kPieceBytes = 32 << 10;

// While all rows of x stay in the second-level cache, a tile of weights stays in the first until
// all have passed. More rows pass by weights that stay in the second level.
constexpr std::int64_t kCachedRowsBytes = 512 << 10;
constexpr std::int64_t kGroupBytes = 256 << 10;

// A tile and the next one fit the first cache up to this size.
constexpr std::int64_t kFirstCacheTileBytes = 16 << 10;
constexpr std::int64_t kLineBytes = 64;

constexpr std::int64_t paddedDepth(std::int64_t inFeatures) {
  return divideUp(inFeatures, kPadding) * kPadding;
}

constexpr bool rowsAreCached(std::int64_t rows, std::int64_t depth) {
  return static_cast<std::int64_t>(sizeof(float)) * rows * depth <= kCachedRowsBytes;
}

// The first row of a tile of x, one of `tiles` of nearly one size: each costs a pass over the
// weights.
constexpr std::int64_t tileBegin(std::int64_t rows, std::int64_t tiles, std::int64_t tile) {
  return rows * tile / tiles;
}

}  // namespace wgqa::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace wgqa::cpu::HWY_NAMESPACE {

static_assert(kPadding % kLanes == 0);

// Weight rows of a tile, and rows of x that it is multiplied with at a time: as many as leave every
// sum in a register (there are 32 of 512 bits and on NEON, else 16).
constexpr bool kHasManyRegisters = HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON;
constexpr int kRowTile = kHasManyRegisters ? 6 : 2;
constexpr int kWeightTile = 4;

// Rows of x as tiles [depth / lanes][rows of the tile][lanes] in float32: the tile's product reads
// them as one stream, and rows that lie a power of two apart do not fight for the same cache lines.
template <class T>
void packTiles(const RowProducts& p, std::int64_t firstTile, std::int64_t lastTile, float* packed) {
  const std::int64_t depth = paddedDepth(p.inFeatures);
  const std::int64_t tiles = divideUp(p.rows, kRowTile);
  for (std::int64_t tile = firstTile; tile < lastTile; ++tile) {
    const std::int64_t begin = tileBegin(p.rows, tiles, tile);
    const std::int64_t rows = tileBegin(p.rows, tiles, tile + 1) - begin;
    float* to = packed + begin * depth;
    for (std::int64_t i = 0; i < depth; i += kLanes) {
      const std::size_t valid = i < p.inFeatures ? lanesLeft(p.inFeatures, i) : 0;
      for (std::int64_t row = 0; row < rows; ++row, to += kLanes) {
        const T* from = static_cast<const T*>(p.x) + (begin + row) * p.xStride + i;
        store(load(from, valid), to, kLanes);
      }
    }
  }
}

void packRowProducts(const RowProducts& p, float* packed, std::int64_t firstTile,
                     std::int64_t lastTile) {
  if (p.dtype == DType::bfloat16) {
    packTiles<BFloat16>(p, firstTile, lastTile, packed);
  } else {
    packTiles<float>(p, firstTile, lastTile, packed);
  }
}

// target[i] = alpha * sums[i] + beta * target[i] for kCount elements.
template <int kCount>
HWY_INLINE void addSums(const RowProducts& p, const float* sums, float* HWY_RESTRICT target) {
  HWY_UNROLL(4)
  for (int i = 0; i < kCount; ++i) {
    target[i] = p.beta == 0.0f ? p.alpha * sums[i] : p.alpha * sums[i] + p.beta * target[i];
  }
}

// Fetches kWeightTile vectors of weights, which lie one after the other, into the first cache or,
// if there are too many for it, into the second.
template <class T>
HWY_INLINE void fetchWeights(const T* weights, bool intoFirst) {
  constexpr std::int64_t kBytes = kWeightTile * kLanes * sizeof(T);
  const auto* bytes = reinterpret_cast<const char*>(weights);
  HWY_UNROLL(4)
  for (std::int64_t byte = 0; byte < kBytes; byte += kLineBytes) {
    if (intoFirst) {
      __builtin_prefetch(bytes + byte, 0, 3);
    } else {
      __builtin_prefetch(bytes + byte, 0, 2);
    }
  }
}

// Meanwhile the tile at `next` is fetched, in the order in which it lies in memory: the hardware
// streams one sequence of lines at the full rate, but not those of four rows in turn.
template <int kRows, class T>
HWY_INLINE void multiplyTile(const RowProducts& p, const float* HWY_RESTRICT x,
                             const T* HWY_RESTRICT const* weight, int weightRows,
                             const T* HWY_RESTRICT next, float* out) {
  const FloatTag d;
  FloatVector sum[kRows][kWeightTile];
  HWY_UNROLL(8)
  for (int row = 0; row < kRows; ++row) {
    HWY_UNROLL(4)
    for (int i = 0; i < kWeightTile; ++i) sum[row][i] = hn::Zero(d);
  }
  const T* HWY_RESTRICT w[kWeightTile];
  HWY_UNROLL(4)
  for (int i = 0; i < kWeightTile; ++i) w[i] = weight[i];
  const bool intoFirst =
      kWeightTile * p.inFeatures * static_cast<std::int64_t>(sizeof(T)) <= kFirstCacheTileBytes;
  for (std::int64_t at = 0; at < p.inFeatures; at += kLanes) {
    const std::size_t valid = lanesLeft(p.inFeatures, at);
    fetchWeights(next + kWeightTile * at, intoFirst);
    FloatVector values[kWeightTile];
    HWY_UNROLL(4)
    for (int i = 0; i < kWeightTile; ++i) values[i] = load(w[i] + at, valid);
    HWY_UNROLL(8)
    for (int row = 0; row < kRows; ++row) {
      const FloatVector own = hn::LoadU(d, x + at * kRows + row * kLanes);
      HWY_UNROLL(4)
      for (int i = 0; i < kWeightTile; ++i) sum[row][i] = hn::MulAdd(own, values[i], sum[row][i]);
    }
  }
  HWY_UNROLL(8)
  for (int row = 0; row < kRows; ++row) {
    alignas(16) float sums[kWeightTile];
    storeSums(sum[row][0], sum[row][1], sum[row][2], sum[row][3], sums);
    float* target = out + row * p.outStride;
    if (weightRows == kWeightTile) {
      addSums<kWeightTile>(p, sums, target);
    } else {
      HWY_UNROLL(4)
      for (int i = 0; i < kWeightTile; ++i) {
        if (i < weightRows) addSums<1>(p, sums + i, target + i);
      }
    }
  }
}

template <class T>
void multiplyRows(const RowProducts& p, std::int64_t rows, const float* x, const T* const* weight,
                  int weightRows, const T* next, float* out) {
  switch (rows) {
    case 1:
      return multiplyTile<1>(p, x, weight, weightRows, next, out);
    case 2:
      return multiplyTile<2>(p, x, weight, weightRows, next, out);
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON
    case 3:
      return multiplyTile<3>(p, x, weight, weightRows, next, out);
    case 4:
      return multiplyTile<4>(p, x, weight, weightRows, next, out);
    case 5:
      return multiplyTile<5>(p, x, weight, weightRows, next, out);
    case 6:
      return multiplyTile<6>(p, x, weight, weightRows, next, out);
#endif
    default:
      return;
  }
}

// Features [begin, end) of one tile of x.
template <class T>
void multiplyFeatureGroup(const RowProducts& p, std::int64_t rows, const float* x,
                          std::int64_t begin, std::int64_t end, float* out) {
  for (std::int64_t n = begin; n < end; n += kWeightTile) {
    const auto weightRows = static_cast<int>(std::min<std::int64_t>(kWeightTile, end - n));
    const T* weight[kWeightTile];
    for (int i = 0; i < kWeightTile; ++i) {
      // A short last tile repeats its last row, whose extra sums are not stored.
      const std::int64_t row = n + std::min(i, weightRows - 1);
      weight[i] = static_cast<const T*>(p.weight) + row * p.weightStride;
    }
    multiplyRows(p, rows, x, weight, weightRows, weight[0] + kWeightTile * p.weightStride, out + n);
  }
}

// Features whose weights meet all rows of x before the next ones do.
std::int64_t featureGroup(const RowProducts& p, std::int64_t depth) {
  if (rowsAreCached(p.rows, depth)) return kWeightTile;
  const auto tileBytes = static_cast<std::int64_t>(bytesOf(p.dtype)) * depth * kWeightTile;
  return std::max<std::int64_t>(1, kGroupBytes / tileBytes) * kWeightTile;
}

template <class T>
void multiplyFeatures(const RowProducts& p, const float* packed, std::int64_t begin,
                      std::int64_t end) {
  const std::int64_t depth = paddedDepth(p.inFeatures);
  const std::int64_t tiles = divideUp(p.rows, kRowTile);
  const std::int64_t group = featureGroup(p, depth);
  for (std::int64_t n = begin; n < end; n += group) {
    const std::int64_t last = std::min(n + group, end);
    for (std::int64_t tile = 0; tile < tiles; ++tile) {
      const std::int64_t m = tileBegin(p.rows, tiles, tile);
      multiplyFeatureGroup<T>(p, tileBegin(p.rows, tiles, tile + 1) - m, packed + m * depth, n,
                              last, p.out + m * p.outStride);
    }
  }
}

void multiplyRowProducts(const RowProducts& p, const float* packed, std::int64_t begin,
                         std::int64_t end) {
  if (p.dtype == DType::bfloat16) {
    multiplyFeatures<BFloat16>(p, packed, begin, end);
  } else {
    multiplyFeatures<float>(p, packed, begin, end);
  }
}

std::int64_t rowTile() { return kRowTile; }

}  // namespace wgqa::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wgqa::cpu {
namespace {
HWY_EXPORT(packRowProducts);
HWY_EXPORT(multiplyRowProducts);
HWY_EXPORT(rowTile);

std::int64_t linesOf(const RowProducts& p) { return divideUp(p.outFeatures, kFeatureGrain); }

// Lines [begin, end) of all products' outputs, counted through.
void multiplyLines(std::span<const RowProducts> products, const float* packed, std::int64_t begin,
                   std::int64_t end) {
  for (const RowProducts& p : products) {
    const std::int64_t lines = linesOf(p);
    if (begin < lines && end > 0) {
      HWY_DYNAMIC_DISPATCH(multiplyRowProducts)
      (p, packed, std::max<std::int64_t>(begin, 0) * kFeatureGrain,
       std::min(std::min(end, lines) * kFeatureGrain, p.outFeatures));
    }
    begin -= lines;
    end -= lines;
  }
}

}  // namespace

void rowProducts(std::span<const RowProducts> products, Scratch& scratch) {
  const RowProducts& x = products.front();
  if (x.rows == 0) return;
  const std::int64_t depth = paddedDepth(x.inFeatures);
  float* packed = scratch.shared<float>(SharedScratch::first, x.rows * depth);
  const std::int64_t tile = HWY_DYNAMIC_DISPATCH(rowTile)();
  parallelFor(divideUp(x.rows, tile), rowGrain(tile * depth),
              [&](std::int64_t begin, std::int64_t end, int) {
                HWY_DYNAMIC_DISPATCH(packRowProducts)(x, packed, begin, end);
              });
  std::int64_t lines = 0;
  for (const RowProducts& p : products) lines += linesOf(p);
  const std::int64_t lineBytes =
      kFeatureGrain * x.inFeatures * static_cast<std::int64_t>(bytesOf(x.dtype));
  if (productPieces(x.rows * depth * lines * kFeatureGrain, lines * lineBytes) < 2) {
    return multiplyLines(products, packed, 0, lines);
  }
  const std::int64_t pieceBytes = rowsAreCached(x.rows, depth) ? kPieceBytes : kGroupBytes;
  // Rounded down: a piece a little larger than a group would be two passes of all rows.
  parallelRanges(lines, pieceBytes / std::max<std::int64_t>(lineBytes, 1),
                 [&](std::int64_t begin, std::int64_t end, int) {
                   multiplyLines(products, packed, begin, end);
                 });
}

}  // namespace wgqa::cpu
#endif
