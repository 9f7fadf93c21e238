// Alignment, similarity and least squares of heads, against plain loops and exhaustive search.
#include <algorithm>
#include <numeric>

#include "base/philox.h"
#include "harness.h"
#include "merge/head_alignment.h"
#include "merge/head_groups.h"
#include "merge/head_similarity.h"
#include "merge/least_squares.h"
#include "merge/matrix_products.h"
#include "merge/singular_values.h"
#include "random_matrices.h"

namespace wgqa::test {
namespace {

// Double throughout: what is left is rounding of sums of some hundred terms.
constexpr double kRounding = 1e-10;

Matrix positive(std::int64_t size, std::uint64_t seed) {
  const Matrix root = randomMatrix(size, size + 3, seed);
  return productWithTransposed(root, root);
}

double distance(const Matrix& a, const Matrix& b) { return (a - b).norm() / (1.0 + b.norm()); }

WGQA_TEST(mergeHeadGramHoldsSecondMoments) {
  const Matrix projection = randomMatrix(6, 5, 1);
  const Matrix inputs = positive(5, 2);
  const HeadGram gram(projection, 2, &inputs);
  CHECK_EQUAL(gram.heads(), 3);
  for (int a = 0; a < 6; ++a) {
    for (int b = 0; b < 6; ++b) {
      double sum = 0.0;
      for (int i = 0; i < 5; ++i) {
        for (int j = 0; j < 5; ++j) sum += projection(a, i) * inputs(i, j) * projection(b, j);
      }
      CHECK_NEAR(gram.between(a / 2, b / 2)(a % 2, b % 2), sum, 1e-9);
    }
  }
  CHECK(distance(HeadGram(projection, 2, nullptr).between(1, 2),
                 projection.middleRows(2, 2).lazyProduct(projection.middleRows(4, 2).transpose())) <
        kRounding);
}

WGQA_TEST(mergeAlignmentUndoesRotations) {
  constexpr std::int64_t kHeadDim = 4;
  const Matrix head = randomMatrix(kHeadDim, 9, 3);
  Matrix projection(4 * kHeadDim, 9);
  for (int i = 0; i < 4; ++i) {
    projection.middleRows(i * kHeadDim, kHeadDim) =
        product(randomRotation(kHeadDim, 10 + static_cast<std::uint64_t>(i)), head);
  }
  const Matrix inputs = positive(9, 4);
  const std::vector<std::int32_t> groups = {0, 0, 1, 1};
  const auto rotations = alignHeads(HeadGram(projection, kHeadDim, &inputs), groups);
  for (int i = 0; i < 4; ++i) {
    CHECK(distance(productWithTransposed(rotations[i], rotations[i]), Matrix::Identity(4, 4)) <
          kRounding);
  }
  for (const int i : {0, 2}) {
    CHECK(distance(rotations[i], Matrix::Identity(4, 4)) < kRounding);
    CHECK(distance(product(rotations[i + 1], projection.middleRows((i + 1) * kHeadDim, kHeadDim)),
                   projection.middleRows(i * kHeadDim, kHeadDim)) < kRounding);
  }
}

// Of one group, <R_i W_i, R_j W_j> over its pairs.
double agreement(const Matrix& projection, std::span<const Matrix> rotations) {
  const std::int64_t headDim = rotations[0].rows();
  double sum = 0.0;
  for (std::size_t i = 0; i < rotations.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      const Matrix a = product(rotations[i], projection.middleRows(i * headDim, headDim));
      const Matrix b = product(rotations[j], projection.middleRows(j * headDim, headDim));
      sum += a.cwiseProduct(b).sum();
    }
  }
  return sum;
}

WGQA_TEST(mergeAlignmentCannotBeImprovedByTurningOneHead) {
  const Matrix projection = randomMatrix(5 * 3, 7, 5);
  const std::vector<std::int32_t> group(5, 0);
  auto rotations = alignHeads(HeadGram(projection, 3, nullptr), group);
  const double best = agreement(projection, rotations);
  CHECK(best > agreement(projection, std::vector<Matrix>(5, Matrix::Identity(3, 3))));
  for (std::size_t head = 0; head < 5; ++head) {
    const Matrix own = rotations[head];
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
      const Matrix step = 0.05 * randomMatrix(3, 3, 100 + seed);
      const Matrix turn = Matrix::Identity(3, 3) + (step - step.transpose());
      rotations[head] = product(nearestOrthogonal(turn), own);
      // The last sweep gained up to 1e-6 of the whole.
      CHECK(agreement(projection, rotations) < best + 1e-5 * std::abs(best));
    }
    rotations[head] = own;
  }
}

// Least over all ways to cut the heads into groups.
double exhaustiveLeast(const Matrix& distances, std::int64_t groups) {
  std::vector<std::int32_t> order(static_cast<std::size_t>(distances.rows()));
  std::iota(order.begin(), order.end(), 0);
  double least = distanceWithinGroups(distances, order, groups);
  while (std::next_permutation(order.begin(), order.end())) {
    least = std::min(least, distanceWithinGroups(distances, order, groups));
  }
  return least;
}

WGQA_TEST(mergeSimilarityFindsTheBestGroups) {
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    const HeadGram gram(randomMatrix(6 * 2, 5, 30 + seed), 2, nullptr);
    for (const bool rotated : {false, true}) {
      const Matrix distances = headDistances(gram, rotated);
      for (const std::int64_t groups : {1, 2, 3, 6}) {
        const auto order = similarHeadOrder(distances, groups);
        CHECK_NEAR(distanceWithinGroups(distances, order, groups),
                   exhaustiveLeast(distances, groups), kRounding);
      }
    }
  }
}

WGQA_TEST(mergeSimilarityOrdersPlantedGroups) {
  const Matrix a = randomMatrix(3, 8, 50);
  const Matrix b = randomMatrix(3, 8, 51);
  Matrix projection(12, 8);
  projection << a, product(randomRotation(3, 52), b), b, product(randomRotation(3, 53), a);
  const HeadGram gram(projection, 3, nullptr);
  const Matrix distances = headDistances(gram, true);
  CHECK(similarHeadOrder(distances, 2) == (std::vector<std::int32_t>{0, 3, 1, 2}));
  CHECK_NEAR(distances(0, 3), 0.0, kRounding);
  CHECK_NEAR(distances(1, 2), 0.0, kRounding);
  CHECK(headDistances(gram, false)(0, 3) > 0.1);
}

WGQA_TEST(mergeSimilarityOfHeadsThatAreZeroKeepsTheirOrder) {
  const HeadGram gram(Matrix::Zero(8, 3), 2, nullptr);
  CHECK(similarHeadOrder(headDistances(gram, true), 2) == (std::vector<std::int32_t>{0, 1, 2, 3}));
}

// What least squares minimises, from the inputs themselves: roots[i]^T roots[i] is reader i.
double sampledError(const Matrix& projection, const Matrix& inputs, std::span<const Matrix> roots,
                    std::span<const std::int32_t> kvHeadOf, std::span<const float> weights) {
  const std::int64_t headDim = roots[0].cols();
  double sum = 0.0;
  for (std::size_t i = 0; i < kvHeadOf.size(); ++i) {
    Matrix difference = projection.middleRows(i * headDim, headDim);
    for (std::size_t j = 0; j < kvHeadOf.size(); ++j) {
      if (kvHeadOf[j] != kvHeadOf[i]) continue;
      difference -= weights[j] * projection.middleRows(j * headDim, headDim);
    }
    sum += product(product(roots[i], difference), inputs).squaredNorm();
  }
  return sum / static_cast<double>(inputs.cols());
}

struct LeastSquaresProblem {
  Matrix projection = randomMatrix(5 * 3, 7, 60);
  Matrix inputs = randomMatrix(7, 40, 61);
  Matrix moments = productWithTransposed(inputs, inputs) / 40.0;
  HeadGram gram{projection, 3, &moments};
  std::vector<std::int32_t> groups = {0, 0, 0, 1, 1};
  std::vector<Matrix> roots;
  std::vector<Matrix> readers;

  LeastSquaresProblem() {
    for (std::uint64_t head = 0; head < 5; ++head) {
      roots.push_back(randomMatrix(4, 3, 70 + head));
      readers.push_back(productOfTransposed(roots.back(), roots.back()));
    }
  }
};

WGQA_TEST(mergeLeastSquaresIsTheMinimumOfItsError) {
  const LeastSquaresProblem p;
  const std::vector<float> best = leastSquaresMergeWeights(p.gram, p.readers, p.groups);
  const auto error = [&](std::span<const float> weights) {
    return mergeError(p.gram, p.readers, p.groups, weights);
  };
  const double least = error(best);
  CHECK_NEAR(least, sampledError(p.projection, p.inputs, p.roots, p.groups, best), 1e-8 * least);
  const std::vector<float> mean = {1.0f / 3, 1.0f / 3, 1.0f / 3, 0.5f, 0.5f};
  CHECK_NEAR(error(mean), sampledError(p.projection, p.inputs, p.roots, p.groups, mean),
             1e-8 * error(mean));
  CHECK(least < error(mean));
  for (std::size_t i = 0; i < best.size(); ++i) {
    for (const float step : {-0.01f, 0.01f}) {
      std::vector<float> moved = best;
      moved[i] += step;
      CHECK(error(moved) > least);
    }
  }
}

WGQA_TEST(mergeLeastSquaresWithOneReaderForAllIsTheMean) {
  LeastSquaresProblem p;
  std::ranges::fill(p.readers, p.readers[0]);
  const std::vector<float> weights = leastSquaresMergeWeights(p.gram, p.readers, p.groups);
  for (std::size_t i = 0; i < 5; ++i) CHECK_NEAR(weights[i], i < 3 ? 1.0 / 3 : 0.5, 1e-6);
}

WGQA_TEST(mergeLeastSquaresOfEqualHeadsIsTheMean) {
  const Matrix head = randomMatrix(3, 7, 80);
  Matrix projection(9, 7);
  projection << head, head, head;
  const HeadGram gram(projection, 3, nullptr);
  const std::vector<Matrix> readers(3, positive(3, 81));
  const std::vector<std::int32_t> group(3, 0);
  for (const float weight : leastSquaresMergeWeights(gram, readers, group)) {
    CHECK_NEAR(weight, 1.0 / 3, 1e-5);
  }
  const HeadGram zero(Matrix::Zero(9, 7), 3, nullptr);
  for (const float weight : leastSquaresMergeWeights(zero, readers, group)) {
    CHECK_NEAR(weight, 1.0 / 3, 1e-6);
  }
}

}  // namespace
}  // namespace wgqa::test
