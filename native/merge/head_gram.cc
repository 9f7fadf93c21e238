#include "merge/head_gram.h"

namespace wgqa {

HeadGram::HeadGram(const Matrix& projection, std::int64_t headDim, const Matrix* inputs)
    : headDim_(headDim) {
  if (inputs == nullptr) {
    values_ = projection * projection.transpose();
  } else {
    values_ = (projection * *inputs) * projection.transpose();
  }
}

}  // namespace wgqa
