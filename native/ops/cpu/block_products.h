// Products of rows with weights in blocks.
#pragma once

#include <span>

#include "ops/cpu/scratch.h"
#include "ops/ops.h"

namespace wgqa::cpu {

/// Products of one x with BlockWeights of one dtype. A row's results do not depend on the others,
/// nor on the number of threads.
void blockProducts(std::span<const Linear> products, Scratch& scratch);

}  // namespace wgqa::cpu
