// A training step of T5-small's shape, AdamW and dropout included: floating point operations of its
// dense products per second of the whole step, against oneDNN running the same products and nothing
// else, in the layouts of its own choice.
#include <algorithm>
#include <cstring>
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>
#include <unordered_map>

#include "bench_support.h"
#include "train/trainer.h"

namespace wgqa::bench {
namespace {

constexpr std::int64_t kSequences = 8;
constexpr std::int64_t kSourceTokens = 128;
constexpr std::int64_t kTargetTokens = 64;

T5Config t5Small() {
  T5Config config;
  config.vocabSize = 32128;
  config.dModel = 512;
  config.dKv = 64;
  config.dFf = 2048;
  config.encoderLayers = 6;
  config.decoderLayers = 6;
  config.heads = 8;
  for (ModuleHeads& module : config.modules) module.kvHeads = config.heads;
  return config;
}

struct Product {
  std::int64_t m, k, n;
  std::int64_t count;  // in a step
  double flops() const { return 2.0 * static_cast<double>(m * k * n * count); }
};

// y = x W^T, dX = dY W and dW = dY^T X of `count` weights.
void addWeight(std::vector<Product>& products, std::int64_t rows, std::int64_t in, std::int64_t out,
               std::int64_t count) {
  products.push_back({rows, in, out, count});
  products.push_back({rows, out, in, count});
  products.push_back({out, rows, in, count});
}

std::vector<Product> productsOfStep(const T5Config& config) {
  constexpr std::int64_t kSource = kSequences * kSourceTokens;
  constexpr std::int64_t kTarget = kSequences * kTargetTokens;
  const std::int64_t inner = config.innerDim();
  std::vector<Product> products;
  // Encoder: q, k, v, o and the feed-forward layer; decoder: the same, q and o of cross-attention
  // over targets, its k and v over sources; the vocabulary.
  addWeight(products, kSource, config.dModel, inner, 4 * config.encoderLayers);
  addWeight(products, kSource, config.dModel, config.dFf, config.encoderLayers);
  addWeight(products, kSource, config.dFf, config.dModel, config.encoderLayers);
  addWeight(products, kTarget, config.dModel, inner, 6 * config.decoderLayers);
  addWeight(products, kSource, config.dModel, inner, 2 * config.decoderLayers);
  addWeight(products, kTarget, config.dModel, config.dFf, config.decoderLayers);
  addWeight(products, kTarget, config.dFf, config.dModel, config.decoderLayers);
  addWeight(products, kTarget, config.dModel, config.vocabSize, 1);
  return products;
}

double flopsOf(const std::vector<Product>& products) {
  double flops = 0.0;
  for (const Product& product : products) flops += product.flops();
  return flops;
}

// One of oneDNN's products over memory of its own.
class LibraryProduct {
 public:
  LibraryProduct(const dnnl::engine& engine, const Product& product, DType dtype) {
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

Subject libraryRate(const std::vector<Product>& products, DType dtype) {
  const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  const dnnl::stream stream(engine);
  std::vector<std::pair<LibraryProduct, std::int64_t>> programs;
  for (const Product& product : products) {
    programs.emplace_back(LibraryProduct(engine, product, dtype), product.count);
  }
  const auto run = [stream, programs] {
    for (const auto& [program, count] : programs) program.run(stream, count);
  };
  return {.name = "oneDNN " + std::string(dtypeName(dtype)) + " of these products",
          .work = flopsOf(products),
          .run = run};
}

// A batch of full rows and the model that learns from it.
class TrainingProblem {
 public:
  explicit TrainingProblem(const TrainingOptions& training)
      : model_(t5Small(), initialT5Parameters(t5Small(), 1), makeCpuOps(), DType::float32),
        trainer_(model_, optionsOf(training)) {
    for (std::int64_t row = 0; row < kSequences; ++row) {
      addRow(row, kSourceTokens, source_, sourceOffsets_);
      addRow(row, kTargetTokens, target_, targetOffsets_);
    }
    labels_.assign(target_.begin() + 1, target_.end());
    labels_.push_back(1);
  }

  void run() {
    const TeacherForcedBatch batch{source_, {sourceOffsets_}, target_, {targetOffsets_}, labels_};
    trainer_.step({&batch, 1}, 1e-4f, nullptr);
  }

 private:
  static TrainerOptions optionsOf(const TrainingOptions& training) {
    TrainerOptions options;
    options.dropoutRate = 0.1f;
    options.weightDecay = 0.01f;
    options.training = training;
    return options;
  }

  // Ids spread over the vocabulary, the end token left out.
  void addRow(std::int64_t row, std::int64_t length, std::vector<std::int32_t>& ids,
              std::vector<std::int32_t>& offsets) const {
    const std::int64_t vocab = model_.config().vocabSize;
    for (std::int64_t i = 0; i < length; ++i) {
      ids.push_back(static_cast<std::int32_t>(2 + (7919 * row + 104729 * i) % (vocab - 2)));
    }
    offsets.push_back(static_cast<std::int32_t>(ids.size()));
  }

  T5Model model_;
  Trainer trainer_;
  std::vector<std::int32_t> source_, target_, labels_;
  std::vector<std::int32_t> sourceOffsets_ = {0};
  std::vector<std::int32_t> targetOffsets_ = {0};
};

Subject stepRate(const std::string& name, const TrainingOptions& training, double flops) {
  const auto problem = std::make_shared<TrainingProblem>(training);
  return {
      .name = "T5-small, training in " + name, .work = flops, .run = [problem] { problem->run(); }};
}

int run(int argc, char** argv) {
  Options options;
  options.repetitions = 7;
  if (!parseOptions(argc, argv, options)) return 2;
  const std::vector<Product> products = productsOfStep(t5Small());
  const double flops = flopsOf(products);
  std::vector<Ratio> ratios;
  compare(libraryRate(products, DType::float32), {stepRate("float32", {}, flops)}, "GFLOP/s",
          options, ratios);
  if (!makeCpuOps()->whyUnsupported({DType::bfloat16, t5Small().dKv, true})) {
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
