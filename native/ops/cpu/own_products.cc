#include "ops/cpu/own_products.h"

#include <algorithm>
#include <cstring>

#include "base/parallel.h"
#include "ops/cpu/block_kernel.h"
#include "ops/cpu/blocked_products.h"
#include "ops/cpu/grain.h"
#include "ops/cpu/product_sums.h"
#include "ops/cpu/quantise.h"

namespace wgqa::cpu {
namespace {

// Rows that meet a block of the weight at a time: they stay in the second-level cache while blocks
// pass.
constexpr std::int64_t kMostRows = 256;

// Threads get about so many bytes of weights at a time.
constexpr std::int64_t kPieceBytes = 64 << 10;

/// Rows of x as multiplyBlock() reads them.
struct PreparedRows {
  const std::byte* x = nullptr;
  std::int64_t stride = 0;        // elements
  const float* scales = nullptr;  // of int8
};

const BlockedWeight& weightOf(const Linear& p) {
  return static_cast<const BlockedWeight&>(*p.weight);
}

// Padded with zeros to whole groups, unless they are whole.
PreparedRows paddedRows(const ConstTensorView& x, std::int64_t depth, Scratch& scratch) {
  const std::int64_t columns = x.shape[1];
  if (columns == depth) return {x.as<std::byte>(), x.strides[0]};
  auto* rows = scratch.shared<BFloat16>(SharedScratch::first, x.shape[0] * depth);
  for (std::int64_t row = 0; row < x.shape[0]; ++row) {
    BFloat16* to = std::copy_n(x.as<BFloat16>() + row * x.strides[0], columns, rows + row * depth);
    std::fill(to, rows + (row + 1) * depth, BFloat16{});
  }
  return {reinterpret_cast<const std::byte*>(rows), depth};
}

// As unsigned bytes: the integers plus 128.
PreparedRows quantisedRows(const ConstTensorView& x, std::int64_t depth, Scratch& scratch) {
  constexpr std::uint64_t kSignBits = 0x8080808080808080u;
  const std::int64_t count = x.shape[0];
  auto* rows = scratch.shared<std::int8_t>(SharedScratch::first, count * depth);
  auto* scales = scratch.shared<float>(SharedScratch::second, count);
  parallelFor(count, rowGrain(depth), [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t row = begin; row < end; ++row) {
      std::int8_t* to = rows + row * depth;
      quantiseRow(x.as<float>() + row * x.strides[0], x.shape[1], to, scales[row]);
      std::fill(to + x.shape[1], to + depth, std::int8_t{0});
      for (std::int64_t i = 0; i < depth; i += sizeof kSignBits) {
        std::uint64_t eight;
        std::memcpy(&eight, to + i, sizeof eight);
        eight ^= kSignBits;
        std::memcpy(to + i, &eight, sizeof eight);
      }
    }
  });
  return {reinterpret_cast<const std::byte*>(rows), depth, scales};
}

/// One call's products, cut into blocks of features that are counted through.
class BlockProducts {
 public:
  BlockProducts(std::span<const Linear> products, Scratch& scratch)
      : products_(products),
        dtype_(products.front().weight->dtype),
        rows_(products.front().x.shape[0]),
        depth_(blockDepth(products.front().weight->inFeatures, dtype_)),
        x_(dtype_ == DType::int8 ? quantisedRows(products.front().x, depth_, scratch)
                                 : paddedRows(products.front().x, depth_, scratch)) {
    for (const Linear& p : products) blocks_ += blocksOf(p.weight->outFeatures);
  }

  // Blocks of the first piece of rows, then of the next one.
  void run(Scratch& scratch) const {
    const std::int64_t pieces = divideUp(rows_, kMostRows);
    const ThreadSlices<float> sums = scratch.perThread<float>(
        threadCount(), static_cast<std::size_t>(divideUp(rows_, pieces) * kBlockFeatures));
    const auto range = [&](std::int64_t begin, std::int64_t end, int thread) {
      for (std::int64_t piece = begin / blocks_; piece * blocks_ < end; ++piece) {
        const std::int64_t first = piece * blocks_;
        const Rows rows{rows_ * piece / pieces, rows_ * (piece + 1) / pieces};
        multiplyBlocks(std::max(begin - first, std::int64_t{0}), std::min(end - first, blocks_),
                       rows, sums.of(thread));
      }
    };
    if (productPieces(rows_ * blocks_ * kBlockFeatures * depth_, blocks_ * blockBytes()) < 2) {
      return range(0, blocks_ * pieces, 0);
    }
    parallelRanges(blocks_ * pieces, kPieceBytes / blockBytes(), range);
  }

 private:
  struct Rows {
    std::int64_t begin, end;
  };

  static std::int64_t blocksOf(std::int64_t features) { return divideUp(features, kBlockFeatures); }
  std::int64_t blockBytes() const {
    return kBlockFeatures * depth_ * static_cast<std::int64_t>(bytesOf(dtype_));
  }

  void multiplyBlocks(std::int64_t begin, std::int64_t end, Rows rows, float* sums) const {
    for (const Linear& p : products_) {
      for (const BlockedWeight::Panel& panel : weightOf(p).panels) {
        const std::int64_t blocks = blocksOf(panel.features);
        for (std::int64_t i = std::max<std::int64_t>(begin, 0); i < std::min(end, blocks); ++i) {
          multiply(p, panel, i, rows, sums);
        }
        begin -= blocks;
        end -= blocks;
      }
    }
  }

  void multiply(const Linear& p, const BlockedWeight::Panel& panel, std::int64_t index, Rows rows,
                float* sums) const {
    const BlockedWeight& weight = weightOf(p);
    const std::int64_t first = panel.firstFeature + index * kBlockFeatures;
    const bool isQuantised = dtype_ == DType::int8;
    const auto rowBytes = x_.stride * static_cast<std::int64_t>(bytesOf(dtype_));
    multiplyBlock({.dtype = dtype_,
                   .x = x_.x + rows.begin * rowBytes,
                   .xStride = x_.stride,
                   .rows = rows.end - rows.begin,
                   .depth = depth_,
                   .weight = panel.data.as<std::byte>() + index * blockBytes(),
                   .offsets = isQuantised ? weight.offsets.data() + first : nullptr,
                   .sums = sums});
    const ProductSums result{
        .sums = sums,
        .sumsStride = kBlockFeatures,
        .rowScales = isQuantised ? x_.scales + rows.begin : nullptr,
        .columnScales = isQuantised ? weight.scales.data() + first : nullptr,
        .rows = rows.end - rows.begin,
        .columns = std::min(kBlockFeatures, panel.features - index * kBlockFeatures),
        .alpha = p.alpha,
        .beta = p.beta,
        .out = p.out.as<float>() + rows.begin * p.out.strides[0] + first,
        .outStride = p.out.strides[0]};
    isQuantised ? addIntegerSums(result) : addFloatSums(result);
  }

  std::span<const Linear> products_;
  DType dtype_;
  std::int64_t rows_;
  std::int64_t depth_;
  PreparedRows x_;
  std::int64_t blocks_ = 0;
};

}  // namespace

bool hasOwnProducts(std::span<const Linear> products) {
  return hasBlockKernel(products.front().weight->dtype) &&
         std::ranges::all_of(products, [](const Linear& p) { return weightOf(p).liesInBlocks; });
}

void ownProducts(std::span<const Linear> products, Scratch& scratch) {
  if (products.front().x.shape[0] == 0) return;
  BlockProducts(products, scratch).run(scratch);
}

}  // namespace wgqa::cpu
