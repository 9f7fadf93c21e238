// Rotations that bring heads together before they are merged, as in "Align-before-merge"
// (arXiv 2412.20677). Rotating the rows of K and of Q alike, or those of V and the columns of O,
// changes no result where no position encoding stands between them: T5 has none.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "merge/head_gram.h"

namespace wgqa {

/// For each head h an orthogonal R_h [headDim, headDim] that multiplies its rows. The sum over the
/// pairs of a group of <R_h W_h, R_j W_j> is at a maximum in each R_h (generalised orthogonal
/// Procrustes analysis, Gower 1975); the first head of a group keeps the identity. With equal heads
/// all are the identity.
std::vector<Matrix> alignHeads(const HeadGram& gram, std::span<const std::int32_t> kvHeadOf);

}  // namespace wgqa
