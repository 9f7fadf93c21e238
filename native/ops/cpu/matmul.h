// Dense products of the CPU backend.
#pragma once

#include "ops/ops.h"

namespace wgqa::cpu {

/// oneDNN's single-precision product: any transposition, no primitive per shape, since the rows of
/// a ragged batch change at every training step.
void matmul(const Matmul& p);

}  // namespace wgqa::cpu
