#include "addon/limits.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "addon/arguments.h"
#include "addon/environment.h"
#include "addon/job.h"
#include "limits/product_limit.h"
#include "limits/read_limit.h"

namespace wgqa {
namespace {

// Seconds of the fastest of `repetitions` runs after one that warms up: a limit is what can be
// reached, not what usually is.
template <typename Limit>
double fastestRun(Limit& limit, std::int64_t repetitions) {
  double fastest = 0.0;
  for (std::int64_t i = 0; i <= repetitions; ++i) {
    const auto start = std::chrono::steady_clock::now();
    limit.run();
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    if (i == 1 || (i > 1 && elapsed.count() < fastest)) fastest = elapsed.count();
  }
  return fastest;
}

// Measures what `make` makes, on a thread of its own; Promise<number>.
template <typename Make>
Napi::Value measure(Napi::Env env, std::int64_t threads, std::int64_t repetitions, Make make) {
  auto state = std::make_shared<ModelState>(static_cast<int>(threads));
  Environment::of(env).adopt(state);
  // Ends the thread on the event loop, with or without a result: it cannot join itself.
  const std::shared_ptr<void> stopped(nullptr, [state](void*) { state->stop(); });
  return runJob(
      env, state,
      [make = std::move(make), repetitions] {
        const auto limit = make();
        return fastestRun(*limit, repetitions);
      },
      [stopped](Napi::Env current, double seconds) { return Napi::Number::New(current, seconds); });
}

ProductType typeOf(const std::string& name) {
  if (name == "float32") return ProductType::float32;
  if (name == "bfloat16") return ProductType::bfloat16;
  if (name == "int8") return ProductType::int8;
  throw Error(ErrorCode::invalidArgument, "no product has type " + name, "dtype",
              "'float32' | 'bfloat16' | 'int8'");
}

Product productOf(const Napi::Object& object) {
  const Product product{.batch = integerField(object, "batch"),
                        .rows = integerField(object, "rows"),
                        .depth = integerField(object, "depth"),
                        .columns = integerField(object, "columns"),
                        .count = integerField(object, "count")};
  const auto sizes = {product.batch, product.rows, product.depth, product.columns, product.count};
  if (std::ranges::any_of(sizes, [](std::int64_t size) { return size < 1; })) {
    throw Error(ErrorCode::invalidArgument, "a product has no elements", "products");
  }
  return product;
}

}  // namespace

Napi::Value measureRead(const Napi::CallbackInfo& info) {
  const std::int64_t bytes = info[0].ToNumber().Int64Value();
  if (bytes < 8) throw Error(ErrorCode::invalidArgument, "too few bytes to read", "bytes", ">= 8");
  const auto options = info[1].As<Napi::Object>();
  return measure(info.Env(), integerField(options, "threads"), integerField(options, "repetitions"),
                 [bytes] { return std::make_unique<ReadLimit>(bytes); });
}

Napi::Value measureProducts(const Napi::CallbackInfo& info) {
  const auto list = info[0].As<Napi::Array>();
  std::vector<Product> products;
  for (std::uint32_t i = 0; i < list.Length(); ++i) {
    products.push_back(productOf(list.Get(i).As<Napi::Object>()));
  }
  const ProductType type = typeOf(info[1].ToString().Utf8Value());
  const auto options = info[2].As<Napi::Object>();
  return measure(info.Env(), integerField(options, "threads"), integerField(options, "repetitions"),
                 [products = std::move(products), type] {
                   return std::make_unique<ProductLimit>(products, type);
                 });
}

}  // namespace wgqa
