// Which problems attention's tensor-core kernels take, how they are cut into tiles, and what the
// others become.
#pragma once

#include <initializer_list>
#include <vector>

#include "ops/cuda/attention_shape.h"

namespace wgqa::cuda {

/// Heads of a multiple of 8 numbers up to 128, a positive scale, and tensors whose rows are aligned
/// to 16 bytes.
bool takesTensorCores(const AttentionShape& shape, std::int64_t headDim,
                      std::initializer_list<ConstTensorView> tensors);

/// Floats of shared memory that the bias of one head takes.
std::int64_t biasWindowFloats(const RelativeBiasArguments& bias);

/// Queries in tiles of `rows`, those that see the most keys first. With a bias they are cut at the
/// positions that are multiples of `rows`, so that the arithmetic of a query does not depend on
/// which others come with it: a sequence's first tile may begin before its first query.
std::vector<SequenceTile> queryTiles(const AttentionShape& shape, std::int64_t rows);

/// Keys in tiles of `rows`, those that the most queries see first.
std::vector<SequenceTile> keyTiles(const AttentionShape& shape, std::int64_t rows);

/// Places for float32 copies of 16-bit tensors of `count` elements in all, for the operation that
/// is being launched. Takes the last scratch place: float32 attention uses the others.
class Widener {
 public:
  Widener(std::int64_t count, Session& session);
  /// A copy of a dense tensor, or the tensor itself if it is float32.
  ConstTensorView operator()(const ConstTensorView& tensor);

 private:
  Session& session_;
  float* next_;
};

}  // namespace wgqa::cuda
