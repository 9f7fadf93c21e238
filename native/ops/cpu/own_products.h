// Products with blocked weights by kernels of our own: of one row at the rate of reading the
// weight, where the library's programs leave a third of the bandwidth unused; of many as fast as
// those.
#pragma once

#include <span>

#include "ops/cpu/scratch.h"
#include "ops/ops.h"

namespace wgqa::cpu {

/// Whether ownProducts() takes these products with blocked weights of one dtype: if the weights lie
/// as it reads them and the processor has the instructions.
bool hasOwnProducts(std::span<const Linear> products);

/// Products of one x. A row's results do not depend on the others.
void ownProducts(std::span<const Linear> products, Scratch& scratch);

}  // namespace wgqa::cpu
