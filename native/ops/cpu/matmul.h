// Dense products of the CPU backend, of operands that change from call to call.
#pragma once

#include "ops/cpu/onednn.h"
#include "ops/ops.h"

namespace wgqa::cpu {

/// oneDNN's products, any transposition. In float32 through its BLAS interface, which needs no
/// program per shape; in bfloat16 through programs, kept for the shapes that come again: operands
/// as they lie run within a tenth of the library's own blocked layouts.
class MatmulProducts {
 public:
  /// Whether the library has bfloat16 products for this processor.
  static bool runsBFloat16();

  void run(const Matmul& p);

 private:
  /// What a program is specific to. Strides are signed: negative for a transposed operand.
  struct Key {
    std::int64_t m, n, k, aStride, bStride, cStride;
    float alpha, beta;
    int threads;
    bool operator==(const Key&) const = default;
  };
  // Some thirty products of a model for each of a few dozen batch sizes in turn.
  static constexpr std::size_t kMaxPrograms = 1024;

  void runBFloat16(const Matmul& p);

  onednn::ProgramCache<Key> programs_{kMaxPrograms};
};

}  // namespace wgqa::cpu
