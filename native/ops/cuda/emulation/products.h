// The products of a warpgroup in the emulation: one thread's part of those under way.
#pragma once

#include <cstdint>
#include <deque>
#include <unordered_map>
#include <vector>

namespace wgqa::cuda::emulation {

/// The bits of a matrix descriptor that are used (PTX ISA, "Matrix descriptor format"); offsets are
/// in the block's shared memory.
struct MatrixDescriptor {
  std::uint64_t bits;

  int first() const { return static_cast<int>(bits & 0x3fff) << 4; }
  int leadingBytes() const { return static_cast<int>(bits >> 16 & 0x3fff) << 4; }
  int strideBytes() const { return static_cast<int>(bits >> 32 & 0x3fff) << 4; }
};

/// A thread's part of [64, columns] (+)= a b of 16 inner numbers: two rows, a quarter of the
/// columns.
struct Product {
  float* sums;  // as the thread's registers
  int columns;
  bool isBFloat16;  // else float16
  bool adds;        // to what the sums hold
  bool rowsOfB;     // b's rows are the columns of the result; else they are the inner numbers
  MatrixDescriptor b = {};
  bool aIsShared = false;  // rows of matrix `a`; else the thread's two are in `fragment`
  MatrixDescriptor a = {};
  float fragment[2][16] = {};
};

/// Products are done when they are waited for: from the call until then, the sums hold NaN.
class ProductQueue {
 public:
  void begin() { begun_ = true; }
  void add(const Product& product);
  void commit();
  /// Throws if sums were touched before they were waited for.
  void wait(int left);
  void clear();
  bool isEmpty() const { return uncommitted_.empty() && groups_.empty(); }

 private:
  bool isPending(const float* sums) const;
  void writeBack();

  bool begun_ = false;
  std::vector<Product> uncommitted_;
  std::deque<std::vector<Product>> groups_;
  std::unordered_map<float*, std::vector<float>> hidden_;  // what the sums really hold
};

}  // namespace wgqa::cuda::emulation
