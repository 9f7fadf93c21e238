// Merge weights from calibration activations, without training.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "merge/head_gram.h"

namespace wgqa {

/// [heads] weights w whose merged head comes closest to every head of its group as its reader sees
/// it: of each group the minimum of
///   sum over its heads i of E[|s_i (W_i - sum over its heads j of w_j W_j) x|^2],
/// where `gram` holds the second moments of W x, and readers[i] = s_i^T s_i [headDim, headDim]: the
/// second moments of head i's queries for K, and of its columns of O for V. Readers matter: if all
/// were the identity, the mean would be the answer.
std::vector<float> leastSquaresMergeWeights(const HeadGram& gram, std::span<const Matrix> readers,
                                            std::span<const std::int32_t> kvHeadOf);

/// The sum of that minimised quantity over all groups, for any weights.
double mergeError(const HeadGram& gram, std::span<const Matrix> readers,
                  std::span<const std::int32_t> kvHeadOf, std::span<const float> weights);

}  // namespace wgqa
