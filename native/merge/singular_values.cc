#include "merge/singular_values.h"

#include <Eigen/SVD>

namespace wgqa {
namespace {

using Decomposition = Eigen::BDCSVD<Eigen::MatrixXd>;

}  // namespace

Matrix nearestOrthogonal(const Matrix& target) {
  const Decomposition svd(target, Eigen::ComputeFullU | Eigen::ComputeFullV);
  return svd.matrixU() * svd.matrixV().transpose();
}

double nuclearNorm(const Matrix& matrix) { return Decomposition(matrix).singularValues().sum(); }

}  // namespace wgqa
