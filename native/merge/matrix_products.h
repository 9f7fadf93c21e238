// Products of matrices in one file, since the library's take seconds to compile wherever they are
// written out.
#pragma once

#include "merge/head_gram.h"

namespace wgqa {

/// a b.
Matrix product(const Matrix& a, const Matrix& b);
/// a b^T.
Matrix productWithTransposed(const Matrix& a, const Matrix& b);
/// a^T b.
Matrix productOfTransposed(const Matrix& a, const Matrix& b);

}  // namespace wgqa
