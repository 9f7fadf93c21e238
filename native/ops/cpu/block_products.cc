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

/// One call's products, cut into blocks of features that are counted through, and x into pieces of
/// rows.
class Products {
 public:
  Products(std::span<const Linear> products, Scratch& scratch)
      : products_(products),
        first_(weightOf(products.front())),
        x_(products.front().x),
        rowBytes_(preparedRowBytes(first_)),
        pieces_(std::max<std::int64_t>(1, divideUp(x_.shape[0] * rowBytes_, kRowsBytes))),
        mostRows_(divideUp(x_.shape[0], pieces_)),
        ownRows_(!liesPrepared(x_, first_) && pieces_ >= 2 * threadCount()),
        room_(scratch.perThread<std::byte>(threadCount(), sumsBytes() + ownBytes())) {
    for (const Linear& p : products) blocks_ += weightOf(p).blocks();
    if (ownRows_) {
      ownPieces_ = scratch.shared<OwnPiece>(SharedScratch::third, threadCount());
      std::fill_n(ownPieces_, threadCount(), OwnPiece{});
    } else {
      prepareAll(scratch);
    }
  }

  // Blocks of the first piece of rows, then of the next one.
  void run() {
    const auto range = [&](std::int64_t begin, std::int64_t end, int thread) {
      for (std::int64_t piece = begin / blocks_; piece * blocks_ < end; ++piece) {
        const std::int64_t first = piece * blocks_;
        const Rows rows{x_.shape[0] * piece / pieces_, x_.shape[0] * (piece + 1) / pieces_,
                        pieceOf(piece, thread)};
        multiplyBlocks(std::max(begin - first, std::int64_t{0}), std::min(end - first, blocks_),
                       rows, reinterpret_cast<float*>(room_.of(thread)));
      }
    };
    const std::int64_t blockBytes = first_.blockBytes();
    const std::int64_t features = blocks_ * first_.kernel->features;
    if (productPieces(x_.shape[0] * features * first_.inFeatures, blocks_ * blockBytes) < 2) {
      return range(0, blocks_ * pieces_, 0);
    }
    parallelRanges(blocks_ * pieces_, kPieceBytes / std::max<std::int64_t>(blockBytes, 1), range);
  }

 private:
  struct Rows {
    std::int64_t begin, end;
    PreparedRows x;  // from `begin` on
  };

  /// The piece of rows that a thread has prepared for itself.
  struct OwnPiece {
    std::int64_t index = -1;
    PreparedRows rows = {};
  };

  std::size_t sumsBytes() const {
    return roundUp(static_cast<std::size_t>(mostRows_ * first_.kernel->features) * sizeof(float));
  }
  std::size_t scaleBytes() const {
    return roundUp(static_cast<std::size_t>(mostRows_) * sizeof(float));
  }
  std::size_t ownBytes() const {
    if (!ownRows_) return 0;
    return scaleBytes() + static_cast<std::size_t>(mostRows_ * rowBytes_);
  }
  static std::size_t roundUp(std::size_t bytes) {
    return (bytes + kBufferAlignmentBytes - 1) / kBufferAlignmentBytes * kBufferAlignmentBytes;
  }

  // Few rows are prepared by all threads for all.
  void prepareAll(Scratch& scratch) {
    const std::int64_t count = x_.shape[0];
    if (liesPrepared(x_, first_)) {
      const auto elementBytes = static_cast<std::int64_t>(bytesOf(x_.dtype));
      all_ = {x_.as<std::byte>(), x_.strides[0] * elementBytes, nullptr};
      return;
    }
    auto* rows = scratch.shared<std::byte>(SharedScratch::first, count * rowBytes_);
    auto* scales = scratch.shared<float>(SharedScratch::second, count);
    parallelFor(count, rowGrain(rowBytes_), [&](std::int64_t begin, std::int64_t end, int) {
      prepareRows(x_.rows(begin, end - begin), first_, rows + begin * rowBytes_, scales + begin);
    });
    all_ = {rows, rowBytes_, scales};
  }

  // Of many rows each thread prepares those that it meets: they stay in its own cache.
  PreparedRows pieceOf(std::int64_t piece, int thread) {
    const std::int64_t begin = x_.shape[0] * piece / pieces_;
    if (!ownRows_) {
      return {all_.x + begin * all_.stride, all_.stride,
              all_.scales == nullptr ? nullptr : all_.scales + begin};
    }
    OwnPiece& own = ownPieces_[thread];
    if (own.index != piece) {
      const std::int64_t end = x_.shape[0] * (piece + 1) / pieces_;
      std::byte* room = room_.of(thread) + sumsBytes();
      own = {piece, prepareRows(x_.rows(begin, end - begin), first_, room + scaleBytes(),
                                reinterpret_cast<float*>(room))};
    }
    return own.rows;
  }

  void multiplyBlocks(std::int64_t begin, std::int64_t end, const Rows& rows, float* sums) const {
    for (const Linear& p : products_) {
      const std::int64_t blocks = weightOf(p).blocks();
      for (std::int64_t i = std::max<std::int64_t>(begin, 0); i < std::min(end, blocks); ++i) {
        multiply(p, i, rows, sums);
      }
      begin -= blocks;
      end -= blocks;
    }
  }

  void multiply(const Linear& p, std::int64_t block, const Rows& rows, float* sums) const {
    const BlockWeight& weight = weightOf(p);
    const std::int64_t features = weight.kernel->features;
    const std::int64_t first = block * features;
    const bool isQuantised = weight.dtype == DType::int8;
    weight.kernel->multiply(
        {.x = rows.x.x,
         .xStride = rows.x.stride,
         .rows = rows.end - rows.begin,
         .words = weight.words(),
         .weight = weight.memory.data + block * weight.blockBytes(),
         .offsets = weight.offsets.empty() ? nullptr : weight.offsets.data() + first,
         .sums = sums});
    const ProductSums result{.sums = sums,
                             .sumsStride = features,
                             .rowScales = isQuantised ? rows.x.scales : nullptr,
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
  const ConstTensorView& x_;
  std::int64_t rowBytes_;  // of prepared ones
  std::int64_t pieces_;
  std::int64_t mostRows_;         // of a piece
  bool ownRows_;                  // whether threads prepare rows for themselves
  ThreadSlices<std::byte> room_;  // sums; own scales and rows
  PreparedRows all_;
  OwnPiece* ownPieces_ = nullptr;  // one for each thread
  std::int64_t blocks_ = 0;
};

}  // namespace

void blockProducts(std::span<const Linear> products, Scratch& scratch) {
  if (products.front().x.shape[0] == 0) return;
  Products(products, scratch).run();
}

}  // namespace wgqa::cpu
