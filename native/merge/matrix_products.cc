#include "merge/matrix_products.h"

namespace wgqa {

Matrix product(const Matrix& a, const Matrix& b) { return a * b; }
Matrix productWithTransposed(const Matrix& a, const Matrix& b) { return a * b.transpose(); }
Matrix productOfTransposed(const Matrix& a, const Matrix& b) { return a.transpose() * b; }

}  // namespace wgqa
