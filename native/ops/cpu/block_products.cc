#include "ops/cpu/block_products.h"

#include <algorithm>
#include <cstring>

#include "base/parallel.h"
#include "ops/cpu/block_weight.h"
#include "ops/cpu/grain.h"
#include "ops/cpu/product_sums.h"
#include "ops/cpu/quantise.h"

namespace wgqa::cpu {
namespace {

// Rows that meet a block of the weight at a time are so many bytes at most: they stay in the
// second-level cache while blocks pass.
constexpr std::int64_t kRowsBytes = 384 << 10;

// Threads get about so many bytes of weights at a time.
constexpr std::int64_t kPieceBytes = 64 << 10;

/// Rows of x as kernels read them.
struct PreparedRows {
  const std::byte* x = nullptr;
  std::int64_t stride = 0;        // bytes
  const float* scales = nullptr;  // of int8
};

const BlockWeight& weightOf(const Linear& p) { return static_cast<const BlockWeight&>(*p.weight); }

// Padded with zeros to whole words, unless they are whole.
PreparedRows wordRows(const ConstTensorView& x, std::int64_t words, Scratch& scratch) {
  const auto elementBytes = static_cast<std::int64_t>(bytesOf(x.dtype));
  const std::int64_t used = x.shape[1] * elementBytes;
  const std::int64_t bytes = words * kWordBytes;
  if (used == bytes) return {x.as<std::byte>(), x.strides[0] * elementBytes};
  auto* rows = scratch.shared<std::byte>(SharedScratch::first, x.shape[0] * bytes);
  for (std::int64_t row = 0; row < x.shape[0]; ++row) {
    const std::byte* from = x.as<std::byte>() + row * x.strides[0] * elementBytes;
    std::byte* end = std::copy_n(from, used, rows + row * bytes);
    std::fill(end, rows + (row + 1) * bytes, std::byte{0});
  }
  return {rows, bytes};
}

// As unsigned bytes: the integers plus 128.
PreparedRows quantisedRows(const ConstTensorView& x, std::int64_t words, Scratch& scratch) {
  constexpr std::uint32_t kSignBits = 0x80808080u;
  const std::int64_t count = x.shape[0];
  const std::int64_t bytes = words * kWordBytes;
  auto* rows = scratch.shared<std::byte>(SharedScratch::first, count * bytes);
  auto* scales = scratch.shared<float>(SharedScratch::second, count);
  parallelFor(count, rowGrain(bytes), [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t row = begin; row < end; ++row) {
      std::byte* to = rows + row * bytes;
      quantiseRow(x.as<float>() + row * x.strides[0], x.shape[1],
                  reinterpret_cast<std::int8_t*>(to), scales[row]);
      std::fill(to + x.shape[1], to + bytes, std::byte{0});
      for (std::int64_t i = 0; i < bytes; i += kWordBytes) {
        std::uint32_t word;
        std::memcpy(&word, to + i, sizeof word);
        word ^= kSignBits;
        std::memcpy(to + i, &word, sizeof word);
      }
    }
  });
  return {rows, bytes, scales};
}

/// One call's products, cut into blocks of features that are counted through.
class Products {
 public:
  Products(std::span<const Linear> products, Scratch& scratch)
      : products_(products),
        first_(weightOf(products.front())),
        rows_(products.front().x.shape[0]),
        x_(first_.dtype == DType::int8 ? quantisedRows(products.front().x, first_.words(), scratch)
                                       : wordRows(products.front().x, first_.words(), scratch)) {
    for (const Linear& p : products) blocks_ += weightOf(p).blocks();
  }

  // Blocks of the first piece of rows, then of the next one.
  void run(Scratch& scratch) const {
    const std::int64_t pieces = divideUp(rows_ * first_.words() * kWordBytes, kRowsBytes);
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
                             .offsets = isQuantised ? weight.offsets.data() + first : nullptr,
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
