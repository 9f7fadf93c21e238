#include "host_limits.h"

#include <memory>
#include <string>

#include "base/error.h"
#include "limits/product_limit.h"
#include "limits/read_limit.h"

namespace wgqa::bench {
namespace {

ProductType productTypeOf(DType dtype) {
  if (dtype == DType::bfloat16) return ProductType::bfloat16;
  return dtype == DType::int8 ? ProductType::int8 : ProductType::float32;
}

}  // namespace

Subject readBandwidth() {
  constexpr std::int64_t kBytes = std::int64_t{1} << 28;
  const auto limit = std::make_shared<ReadLimit>(kBytes);
  return {.name = "read bandwidth", .work = kBytes * 1.0, .run = [limit] { limit->run(); }};
}

std::optional<Subject> productRate(DType dtype) try {
  const Product product{.rows = 512, .depth = 2048, .columns = 512};
  const auto limit = std::make_shared<ProductLimit>(std::span(&product, 1), productTypeOf(dtype));
  return Subject{.name = "oneDNN " + std::string(dtypeName(dtype)),
                 .work = limit->flops(),
                 .run = [limit] { limit->run(); }};
} catch (const Error& error) {
  if (error.code() != ErrorCode::unsupported) throw;
  return std::nullopt;
}

}  // namespace wgqa::bench
