#include "merge/least_squares.h"

#include <Eigen/Cholesky>

#include "merge/head_groups.h"

namespace wgqa {
namespace {

// Of the mean diagonal, towards equal weights: heads that are alike leave them undetermined.
constexpr double kRidge = 1e-9;

// w^T quadratic w - 2 linear^T w + constant: the error of one group.
struct GroupError {
  Eigen::MatrixXd quadratic;
  Eigen::VectorXd linear;
  double constant = 0.0;
};

// Of the heads [begin, end). E[(s k_j)^T (s k_l)] is the trace of s^T s times their second moments.
GroupError errorOf(const HeadGram& gram, std::span<const Matrix> readers, std::int64_t begin,
                   std::int64_t end) {
  const std::int64_t size = end - begin;
  GroupError error{Eigen::MatrixXd::Zero(size, size), Eigen::VectorXd::Zero(size)};
  const auto seen = [&](const Matrix& reader, std::int64_t i, std::int64_t j) {
    return reader.cwiseProduct(gram.between(begin + j, begin + i)).sum();
  };
  Matrix all = Matrix::Zero(gram.headDim(), gram.headDim());
  for (std::int64_t i = 0; i < size; ++i) {
    const Matrix& reader = readers[begin + i];
    all += reader;
    error.constant += seen(reader, i, i);
    for (std::int64_t j = 0; j < size; ++j) error.linear(j) += seen(reader, i, j);
  }
  for (std::int64_t j = 0; j < size; ++j) {
    for (std::int64_t l = 0; l < size; ++l) error.quadratic(j, l) = seen(all, j, l);
  }
  return error;
}

Eigen::VectorXd minimumOf(const GroupError& error) {
  const auto size = static_cast<double>(error.linear.size());
  const double ridge = kRidge * error.quadratic.trace() / size;
  const Eigen::VectorXd mean = Eigen::VectorXd::Constant(error.linear.size(), 1.0 / size);
  if (ridge == 0.0) return mean;
  Eigen::MatrixXd regular = 0.5 * (error.quadratic + error.quadratic.transpose());
  regular.diagonal().array() += ridge;
  return regular.ldlt().solve(error.linear + ridge * mean);
}

}  // namespace

std::vector<float> leastSquaresMergeWeights(const HeadGram& gram, std::span<const Matrix> readers,
                                            std::span<const std::int32_t> kvHeadOf) {
  std::vector<float> weights(kvHeadOf.size());
  for (const auto [begin, end] : headRanges(kvHeadOf)) {
    const Eigen::VectorXd minimum = minimumOf(errorOf(gram, readers, begin, end));
    for (std::int64_t head = begin; head < end; ++head) {
      weights[head] = static_cast<float>(minimum(head - begin));
    }
  }
  return weights;
}

double mergeError(const HeadGram& gram, std::span<const Matrix> readers,
                  std::span<const std::int32_t> kvHeadOf, std::span<const float> weights) {
  double sum = 0.0;
  for (const auto [begin, end] : headRanges(kvHeadOf)) {
    const GroupError error = errorOf(gram, readers, begin, end);
    const Eigen::VectorXd w =
        Eigen::Map<const Eigen::VectorXf>(weights.data() + begin, end - begin).cast<double>();
    sum += w.dot(error.quadratic * w) - 2.0 * error.linear.dot(w) + error.constant;
  }
  return sum;
}

}  // namespace wgqa
