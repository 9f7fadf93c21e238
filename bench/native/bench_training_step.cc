// A training step of T5-small's shape, AdamW and dropout included: floating point operations of its
// dense products per second of the whole step, against oneDNN running the same products and nothing
// else, in the layouts of its own choice.
#include <cstring>
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>
#include <unordered_map>

#include "bench_support.h"
#include "training_problem.h"

namespace wgqa::bench {
namespace {

TrainingShape t5Small() { return {.config = t5Config(6, 8, 512, 2048)}; }

// One of oneDNN's products over memory of its own.
class LibraryProduct {
 public:
  LibraryProduct(const dnnl::engine& engine, const TrainingProduct& product, DType dtype) {
    using dnnl::memory;
    const auto type = dtype == DType::bfloat16 ? memory::data_type::bf16 : memory::data_type::f32;
    const auto any = [](std::int64_t rows, std::int64_t columns, memory::data_type of) {
      return memory::desc({rows, columns}, of, memory::format_tag::any);
    };
    const auto a = any(product.m, product.k, type);
    const auto b = any(product.k, product.n, type);
    const auto c = any(product.m, product.n, memory::data_type::f32);
#if DNNL_VERSION_MAJOR >= 3
    const dnnl::matmul::primitive_desc description(engine, a, b, c);
#else
    const dnnl::matmul::primitive_desc description({a, b, c}, engine);
#endif
    product_ = dnnl::matmul(description);
    arguments_ = {{DNNL_ARG_SRC, memory(description.src_desc(), engine)},
                  {DNNL_ARG_WEIGHTS, memory(description.weights_desc(), engine)},
                  {DNNL_ARG_DST, memory(description.dst_desc(), engine)}};
    for (const auto& [role, tensor] : arguments_) {
      std::memset(tensor.get_data_handle(), 0, tensor.get_desc().get_size());
    }
  }

  void run(const dnnl::stream& stream, std::int64_t count) const {
    for (std::int64_t i = 0; i < count; ++i) product_.execute(stream, arguments_);
  }

 private:
  dnnl::matmul product_;
  std::unordered_map<int, dnnl::memory> arguments_;
};

Subject libraryRate(const std::vector<TrainingProduct>& products, DType dtype) {
  const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  const dnnl::stream stream(engine);
  std::vector<std::pair<LibraryProduct, std::int64_t>> programs;
  for (const TrainingProduct& product : products) {
    programs.emplace_back(LibraryProduct(engine, product, dtype), product.count);
  }
  const auto run = [stream, programs] {
    for (const auto& [program, count] : programs) program.run(stream, count);
  };
  return {.name = "oneDNN " + std::string(dtypeName(dtype)) + " of these products",
          .work = flopsOf(products),
          .run = run};
}

Subject stepRate(const std::string& name, const TrainingOptions& training, double flops) {
  const auto problem = std::make_shared<TrainingProblem>(t5Small(), makeCpuOps(), training);
  return {
      .name = "T5-small, training in " + name, .work = flops, .run = [problem] { problem->run(); }};
}

int run(int argc, char** argv) {
  Options options;
  options.repetitions = 7;
  if (!parseOptions(argc, argv, options)) return 2;
  const std::vector<TrainingProduct> products = productsOfStep(t5Small());
  const double flops = flopsOf(products);
  std::vector<Ratio> ratios;
  compare(libraryRate(products, DType::float32), {stepRate("float32", {}, flops)}, "GFLOP/s",
          options, ratios);
  if (!makeCpuOps()->whyUnsupported({DType::bfloat16, t5Small().config.dKv, true})) {
    compare(libraryRate(products, DType::bfloat16),
            {stepRate("bfloat16", {.computeDtype = DType::bfloat16}, flops),
             stepRate("bfloat16, checkpointing",
                      {.computeDtype = DType::bfloat16, .activationCheckpointing = true}, flops)},
            "GFLOP/s", options, ratios);
  }
  return report("training step, 8 x 128 source and 64 target tokens", ratios, options);
}

}  // namespace
}  // namespace wgqa::bench

int main(int argc, char** argv) { return wgqa::bench::run(argc, argv); }
