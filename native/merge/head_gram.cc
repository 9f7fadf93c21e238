#include "merge/head_gram.h"

#include "merge/matrix_products.h"

namespace wgqa {

HeadGram::HeadGram(const Matrix& projection, std::int64_t headDim, const Matrix* inputs)
    : headDim_(headDim),
      values_(productWithTransposed(inputs == nullptr ? projection : product(projection, *inputs),
                                    projection)) {}

double HeadGram::squaredNorm(std::int64_t head) const { return between(head, head).trace(); }

}  // namespace wgqa
