#include <algorithm>
#include <cmath>

#include "ops/ops.h"

namespace wgqa {

std::int32_t relativeBucket(std::int64_t relativePosition, bool bidirectional, std::int32_t buckets,
                            std::int32_t maxDistance) {
  std::int32_t base = 0;
  std::int64_t distance = 0;
  if (bidirectional) {
    buckets /= 2;
    if (relativePosition > 0) base = buckets;
    distance = std::abs(relativePosition);
  } else {
    distance = std::max<std::int64_t>(-relativePosition, 0);
  }
  const std::int32_t exact = buckets / 2;
  if (distance < exact) return base + static_cast<std::int32_t>(distance);
  // float32 throughout, so that distances on a bucket's edge fall as they do in the public T5 code.
  const auto numerator = std::log(static_cast<float>(distance) / static_cast<float>(exact));
  const auto denominator =
      static_cast<float>(std::log(static_cast<double>(maxDistance) / static_cast<double>(exact)));
  const auto span = static_cast<float>(buckets - exact);
  const auto large = exact + static_cast<std::int32_t>(numerator / denominator * span);
  return base + std::min(large, buckets - 1);
}

}  // namespace wgqa
