// What is made of a singular value decomposition: in one file, since the library's takes half a
// minute to compile.
#pragma once

#include "merge/head_gram.h"

namespace wgqa {

/// The orthogonal factor of the polar decomposition of a square `target`: among orthogonal matrices
/// the one with the largest inner product with it (Schoenemann 1966).
Matrix nearestOrthogonal(const Matrix& target);

/// The sum of the singular values: that largest inner product.
double nuclearNorm(const Matrix& matrix);

}  // namespace wgqa
