#include "ops/cuda/operations.h"

namespace wgqa::cuda {

void embedding(const Embedding&, Session&) { throw Error(ErrorCode::unsupported, "todo"); }
void embeddingBackward(const EmbeddingBackward&, Session&) {
  throw Error(ErrorCode::unsupported, "todo");
}

}  // namespace wgqa::cuda
