#include "limits/product_limit.h"

#include <cstring>
#include <oneapi/dnnl/dnnl.hpp>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "isa/instruction_set.h"

namespace wgqa {
namespace {

using dnnl::memory;

struct Types {
  memory::data_type source, weights, result;
};

Types typesOf(ProductType type) {
  using enum memory::data_type;
  switch (type) {
    case ProductType::bfloat16:
      return {bf16, bf16, f32};
    case ProductType::int8:
      return {u8, s8, s32};
    default:
      return {f32, f32, f32};
  }
}

memory::desc description(const Product& product, std::int64_t rows, std::int64_t columns,
                         memory::data_type type) {
  if (product.batch == 1) return {{rows, columns}, type, memory::format_tag::any};
  return {{product.batch, rows, columns}, type, memory::format_tag::any};
}

dnnl::matmul::primitive_desc plan(const Product& p, const Types& types,
                                  const dnnl::engine& engine) {
  const memory::desc source = description(p, p.rows, p.depth, types.source);
  const memory::desc weights = description(p, p.depth, p.columns, types.weights);
  const memory::desc result = description(p, p.rows, p.columns, types.result);
#if DNNL_VERSION_MAJOR >= 3
  return {engine, source, weights, result};
#else
  return {{source, weights, result}, engine};
#endif
}

memory zeros(const memory::desc& shape, const dnnl::engine& engine) {
  memory tensor(shape, engine);
  std::memset(tensor.get_data_handle(), 0, shape.get_size());
  return tensor;
}

}  // namespace

struct ProductLimit::Prepared {
  struct Step {
    dnnl::matmul product;
    std::unordered_map<int, memory> arguments;
    std::int64_t count;
  };
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  std::vector<Step> steps;
};

ProductLimit::ProductLimit(std::span<const Product> products, ProductType type)
    : prepared_(std::make_unique<Prepared>()) {
  instructionSet();  // limits the library, too
  const dnnl::engine& engine = prepared_->engine;
  try {
    for (const Product& product : products) {
      const auto planned = plan(product, typesOf(type), engine);
      prepared_->steps.push_back({dnnl::matmul(planned),
                                  {{DNNL_ARG_SRC, zeros(planned.src_desc(), engine)},
                                   {DNNL_ARG_WEIGHTS, zeros(planned.weights_desc(), engine)},
                                   {DNNL_ARG_DST, zeros(planned.dst_desc(), engine)}},
                                  product.count});
      flops_ += product.flops();
    }
  } catch (const dnnl::error& error) {
    const bool memory = error.status == dnnl_out_of_memory;
    throw Error(memory ? ErrorCode::outOfMemory : ErrorCode::unsupported,
                std::string("oneDNN cannot multiply as asked: ") + error.what(), "products");
  }
}

ProductLimit::~ProductLimit() = default;

void ProductLimit::run() {
  for (Prepared::Step& step : prepared_->steps) {
    for (std::int64_t i = 0; i < step.count; ++i) {
      step.product.execute(prepared_->stream, step.arguments);
    }
  }
  prepared_->stream.wait();
}

}  // namespace wgqa
