// Inner products between the heads of one projection: all that alignment, similarity and least
// squares have to know of it.
#pragma once

#include <Eigen/Core>
#include <cstdint>

namespace wgqa {

/// Row-major, as tensors are; double, since small differences of large sums are what counts here.
using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

class HeadGram {
 public:
  /// Of `projection` [heads * headDim, dModel]: the second moments W M W^T of what it gives for
  /// inputs with second moments M [dModel, dModel]; without `inputs`, M is the identity.
  HeadGram(const Matrix& projection, std::int64_t headDim, const Matrix* inputs);

  std::int64_t headDim() const { return headDim_; }
  std::int64_t heads() const { return values_.rows() / headDim_; }
  /// [headDim, headDim]: of head `first` with head `second`.
  auto between(std::int64_t first, std::int64_t second) const {
    return values_.block(first * headDim_, second * headDim_, headDim_, headDim_);
  }
  double squaredNorm(std::int64_t head) const;

 private:
  std::int64_t headDim_;
  Matrix values_;  // [heads * headDim, heads * headDim]
};

}  // namespace wgqa
