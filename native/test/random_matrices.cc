#include "random_matrices.h"

#include "base/random_normal.h"

namespace wgqa::test {

Matrix randomMatrix(std::int64_t rows, std::int64_t columns, std::uint64_t seed) {
  Matrix matrix(rows, columns);
  const RandomField random{seed, 0};
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t column = 0; column < columns; ++column) {
      matrix(row, column) =
          normalAt(random, static_cast<std::uint32_t>(row), static_cast<std::uint32_t>(column));
    }
  }
  return matrix;
}

// Gram-Schmidt: Eigen's decompositions take long to compile.
Matrix randomRotation(std::int64_t size, std::uint64_t seed) {
  Matrix rotation = randomMatrix(size, size, seed);
  for (std::int64_t row = 0; row < size; ++row) {
    for (std::int64_t other = 0; other < row; ++other) {
      rotation.row(row) -= rotation.row(row).dot(rotation.row(other)) * rotation.row(other);
    }
    rotation.row(row).normalize();
  }
  return rotation;
}

}  // namespace wgqa::test
