#include "ops/cpu/block_products.h"

#include <algorithm>

#include "base/parallel.h"
#include "ops/cpu/block_weight.h"
#include "ops/cpu/grain.h"
#include "ops/cpu/prepared_rows.h"
#include "ops/cpu/product_sums.h"

namespace wgqa::cpu {
namespace {

// Rows that meet a block of the weight at a time are so many bytes at most: they stay in the
// second-level cache while blocks pass.
constexpr std::int64_t kRowsBytes = 384 << 10;

// Threads get about so many bytes of weights at a time.
constexpr std::int64_t kPieceBytes = 64 << 10;

const BlockWeight& weightOf(const Linear& p) { return static_cast<const BlockWeight&>(*p.weight); }

/// One call's products, cut into blocks of features that are counted through.
class Products {
 public:
  Products(std::span<const Linear> products, Scratch& scratch)
      : products_(products),
        first_(weightOf(products.front())),
        rows_(products.front().x.shape[0]),
        x_(prepareRows(products.front().x, first_.kernel->rowForm, first_.dtype, first_.words(),
                       scratch)) {
    for (const Linear& p : products) blocks_ += weightOf(p).blocks();
  }

  // Blocks of the first piece of rows, then of the next one.
  void run(Scratch& scratch) const {
    const std::int64_t pieces = divideUp(rows_ * x_.stride, kRowsBytes);
    const std::int64_t features = first_.kernel->features;
    const ThreadSlices<float> sums = scratch.perThread<float>(
        threadCount(), static_cast<std::size_t>(divideUp(rows_, pieces) * features));
    const auto range = [&](std::int64_t begin, std::int64_t end, int thread) {
      for (std::int64_t piece = begin / blocks_; piece * blocks_ < end; ++piece) {
        const std::int64_t first = piece * blocks_;
        const Rows rows{rows_ * piece / pieces, rows_ * (piece + 1) / pieces};
        multiplyBlocks(std::max(begin - first, std::int64_t{0}), std::min(end - first, blocks_),
                       rows, sums.of(thread));
      }
    };
    const std::int64_t blockBytes = first_.blockBytes();
    if (productPieces(rows_ * blocks_ * features * first_.inFeatures, blocks_ * blockBytes) < 2) {
      return range(0, blocks_ * pieces, 0);
    }
    parallelRanges(blocks_ * pieces, kPieceBytes / std::max<std::int64_t>(blockBytes, 1), range);
  }

 private:
  struct Rows {
    std::int64_t begin, end;
  };

  void multiplyBlocks(std::int64_t begin, std::int64_t end, Rows rows, float* sums) const {
    for (const Linear& p : products_) {
      const std::int64_t blocks = weightOf(p).blocks();
      for (std::int64_t i = std::max<std::int64_t>(begin, 0); i < std::min(end, blocks); ++i) {
        multiply(p, i, rows, sums);
      }
      begin -= blocks;
      end -= blocks;
    }
  }

  void multiply(const Linear& p, std::int64_t block, Rows rows, float* sums) const {
    const BlockWeight& weight = weightOf(p);
    const std::int64_t features = weight.kernel->features;
    const std::int64_t first = block * features;
    const bool isQuantised = weight.dtype == DType::int8;
    weight.kernel->multiply({.x = x_.x + rows.begin * x_.stride,
                             .xStride = x_.stride,
                             .rows = rows.end - rows.begin,
                             .words = weight.words(),
                             .weight = weight.memory.data + block * weight.blockBytes(),
                             .offsets = weight.offsets.empty() ? nullptr : weight.offsets.data() + first,
                             .sums = sums});
    const ProductSums result{.sums = sums,
                             .sumsStride = features,
                             .rowScales = isQuantised ? x_.scales + rows.begin : nullptr,
                             .columnScales = isQuantised ? weight.scales.data() + first : nullptr,
                             .rows = rows.end - rows.begin,
                             .columns = std::min(features, weight.outFeatures - first),
                             .alpha = p.alpha,
                             .beta = p.beta,
                             .out = p.out.as<float>() + rows.begin * p.out.strides[0] + first,
                             .outStride = p.out.strides[0]};
    if (isQuantised) {
      addIntegerSums(result);
    } else {
      addFloatSums(result);
    }
  }

  std::span<const Linear> products_;
  const BlockWeight& first_;
  std::int64_t rows_;
  PreparedRows x_;
  std::int64_t blocks_ = 0;
};

}  // namespace

void blockProducts(std::span<const Linear> products, Scratch& scratch) {
  if (products.front().x.shape[0] == 0) return;
  Products(products, scratch).run(scratch);
}

}  // namespace wgqa::cpu
