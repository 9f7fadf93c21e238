// Rows as 8-bit integers with a scale: what enters int8 products.
#pragma once

#include <cstdint>

namespace wgqa::cpu {

/// Symmetric quantisation: integer = round(x * 127 / max|row|), half to even; scale = max|row| /
/// 127. A row of zeros has the scale 0. Values that are not finite give unspecified integers and a
/// scale that is not finite, so that what is computed with them is not finite either.
void quantiseRow(const float* x, std::int64_t count, std::int8_t* integers, float& scale);

}  // namespace wgqa::cpu
