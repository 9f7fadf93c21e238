#include "ops/cuda/emulation/products.h"

#include <algorithm>
#include <bit>

#include "base/error.h"
#include "ops/cuda/emulation/execution.h"

namespace wgqa::cuda::emulation {
namespace {

constexpr std::uint32_t kUnderWay = 0x7fc0beef;  // a NaN

// The 16-byte chunks of each 128 bytes are permuted by the number of those in 1,024.
float elementAt(int offset, bool isBFloat16) {
  const int permuted = offset ^ (offset >> 7 & 7) << 4;
  std::uint16_t bits = 0;
  std::memcpy(&bits, self().shared + permuted, sizeof(bits));
  return isBFloat16 ? fromBFloat16Bits(bits) : fromFloat16Bits(bits);
}

// Where element `inner` of row `row` is, where a row's 16 inner numbers are neighbours: "K-major".
int ofRow(const MatrixDescriptor& matrix, int row, int inner) {
  return matrix.first() + row / 8 * matrix.strideBytes() + row % 8 * 128 + 2 * inner;
}

// Where element `inner` of column `column` is, where the columns of an inner number are neighbours:
// "MN-major".
int ofColumn(const MatrixDescriptor& matrix, int column, int inner) {
  return matrix.first() + column / 64 * matrix.leadingBytes() + inner / 8 * matrix.strideBytes() +
         inner % 8 * 128 + 2 * (column % 64);
}

void multiplyNow(const Product& product, float* sums) {
  const int lane = laneIndex();
  const int row = 16 * (warpIndex() % 4) + lane / 4;
  float a[2][16];
  for (int k = 0; k < 16; ++k) {
    for (int r = 0; r < 2; ++r) {
      a[r][k] = product.aIsShared ? elementAt(ofRow(product.a, row + 8 * r, k), product.isBFloat16)
                                  : product.fragment[r][k];
    }
  }
  for (int i = 0; i < product.columns / 4; ++i) {
    const int column = i / 2 * 8 + 2 * (lane % 4) + i % 2;
    float added[2] = {};
    for (int k = 0; k < 16; ++k) {
      const int place =
          product.rowsOfB ? ofRow(product.b, column, k) : ofColumn(product.b, column, k);
      const float b = elementAt(place, product.isBFloat16);
      added[0] += a[0][k] * b;
      added[1] += a[1][k] * b;
    }
    for (int r = 0; r < 2; ++r) {
      float& sum = sums[i / 2 * 4 + 2 * r + i % 2];
      sum = (product.adds ? sum : 0.0f) + added[r];
    }
  }
}

}  // namespace

bool ProductQueue::isPending(const float* sums) const {
  const auto isOf = [sums](const Product& product) { return product.sums == sums; };
  return std::ranges::any_of(uncommitted_, isOf) ||
         std::ranges::any_of(groups_,
                             [&](const auto& group) { return std::ranges::any_of(group, isOf); });
}

void ProductQueue::add(const Product& product) {
  require(begun_, "a product without beginProducts()");
  float* const end = product.sums + product.columns / 2;
  if (!hidden_.contains(product.sums)) hidden_[product.sums] = {product.sums, end};
  std::fill(product.sums, end, std::bit_cast<float>(kUnderWay));
  uncommitted_.push_back(product);
}

void ProductQueue::commit() {
  groups_.push_back(std::move(uncommitted_));
  uncommitted_.clear();
}

void ProductQueue::wait(int left) {
  while (static_cast<int>(groups_.size()) > left) {
    for (const Product& product : groups_.front()) {
      multiplyNow(product, hidden_.at(product.sums).data());
    }
    groups_.pop_front();
  }
  writeBack();
  begun_ = false;
}

void ProductQueue::writeBack() {
  std::erase_if(hidden_, [this](const auto& each) {
    const auto& [sums, values] = each;
    if (isPending(sums)) return false;
    const bool untouched = std::all_of(sums, sums + values.size(), [](float value) {
      return std::bit_cast<std::uint32_t>(value) == kUnderWay;
    });
    require(untouched, "sums were touched while products were under way");
    std::ranges::copy(values, sums);
    return true;
  });
}

void ProductQueue::clear() {
  begun_ = false;
  uncommitted_.clear();
  groups_.clear();
  hidden_.clear();
}

}  // namespace wgqa::cuda::emulation
