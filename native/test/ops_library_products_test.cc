// On a processor without the instructions of our own kernels, products of short types go through
// oneDNN: here the same products take both ways.
#include <cmath>
#include <cstdint>
#include <memory>
#include <string>

#include "ops/cpu/block_kernel.h"
#include "ops/cpu/library_products.h"
#include "ops/cpu/linear.h"
#include "test/harness.h"
#include "test/ops_tensors.h"

namespace wgqa::test {
namespace {

// The largest difference between results, relative to the largest result. Sums of integers are
// exact and scaled alike; sums of float32 may be added in another order: 2^-24 for each of the
// additions that count, which is far below 1e-5 for these depths.
void checkBothWays(std::int64_t rows, std::int64_t inFeatures, std::int64_t outFeatures,
                   DType dtype) {
  const auto host = makeReferenceOps();
  CaseTensors tensors(7, *host);
  const auto x = tensors.input("x", {linearInput(dtype), {rows, inFeatures}}, normal());
  const auto weight = tensors.input("weight", float32Of({outFeatures, inFeatures}), normal());
  cpu::LibraryProducts products;
  const std::unique_ptr<PackedWeight> foreign = products.pack(weight, dtype);
  if (foreign == nullptr) {
    return note("oneDNN has no " + std::string(dtypeName(dtype)) + " products");
  }
  if (cpu::dotKernel(dtype) == nullptr) {
    return note("no " + std::string(dtypeName(dtype)) + " kernel for this processor");
  }
  cpu::LinearProducts own;
  const std::unique_ptr<PackedWeight> packed = own.pack(weight, dtype);
  const auto result = tensors.output("own", float32Of({rows, outFeatures}));
  const auto library = tensors.output("library", float32Of({rows, outFeatures}));
  cpu::Scratch scratch;
  Linear product{.x = x, .weight = packed.get(), .out = result, .alpha = 0.5f};
  own.run({&product, 1}, scratch);
  product.weight = foreign.get();
  product.out = library;
  products.run({&product, 1}, scratch);
  float largest = 0.0f;
  float difference = 0.0f;
  for (std::int64_t i = 0; i < result.elements(); ++i) {
    const float expected = library.as<float>()[i];
    largest = std::max(largest, std::fabs(expected));
    difference = std::max(difference, std::fabs(result.as<float>()[i] - expected));
  }
  CHECK(largest > 0.0f);
  CHECK(difference <= (dtype == DType::int8 ? 0.0f : 1e-5f * largest));
}

}  // namespace

WGQA_TEST(ownProductsAgreeWithTheLibrary) {
  for (const DType dtype : {DType::bfloat16, DType::int8}) {
    checkBothWays(1, 768, 384, dtype);
    checkBothWays(7, 100, 70, dtype);
    checkBothWays(300, 2100, 200, dtype);
  }
}

}  // namespace wgqa::test
