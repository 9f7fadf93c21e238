// How fast oneDNN multiplies matrices: what bounds every operation made of products.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

namespace wgqa {

/// `count` products of [batch, rows, depth] by [batch, depth, columns].
struct Product {
  std::int64_t batch = 1;
  std::int64_t rows = 0;
  std::int64_t depth = 0;
  std::int64_t columns = 0;
  std::int64_t count = 1;

  double flops() const {
    return 2.0 * static_cast<double>(batch) * static_cast<double>(rows) *
           static_cast<double>(depth) * static_cast<double>(columns) * static_cast<double>(count);
  }
};

/// Element types of both factors; results are float32, of int8 int32.
enum class ProductType : std::uint8_t { float32, bfloat16, int8 };

/// oneDNN's products with all threads, every layout its own choice and nothing else in the time:
/// neither packing nor conversions. What is in the factors is zero and does not matter.
class ProductLimit {
 public:
  /// Throws ErrorCode::unsupported where oneDNN has no such product, ErrorCode::outOfMemory.
  ProductLimit(std::span<const Product> products, ProductType type);
  ~ProductLimit();
  ProductLimit(const ProductLimit&) = delete;
  ProductLimit& operator=(const ProductLimit&) = delete;

  /// Floating point operations (of int8: integer ones) of a run.
  double flops() const { return flops_; }
  /// Computes every product once.
  void run();

 private:
  struct Prepared;
  std::unique_ptr<Prepared> prepared_;
  double flops_ = 0.0;
};

}  // namespace wgqa
