// Element conversion of stretches of memory, for the kernels that read more than one type.
#pragma once

#include <cstdint>

#include "base/dtype.h"

namespace wgqa::cpu {

/// Converts `count` elements on the calling thread, through float32, rounding to nearest even.
void convertElements(const void* from, DType fromType, void* to, DType toType, std::int64_t count);

}  // namespace wgqa::cpu
