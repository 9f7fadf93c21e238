#pragma once

#include "ops/cpu/scratch.h"
#include "ops/ops.h"

namespace wgqa::cpu {

std::unique_ptr<PackedWeight> packWeight(const ConstTensorView& weight, DType dtype);
void linear(const Linear& p, Scratch& scratch);

}  // namespace wgqa::cpu
