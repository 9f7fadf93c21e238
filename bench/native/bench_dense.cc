// Speed of dense products and of the kernels between them on the CPU: products with a packed weight
// against read bandwidth (few rows) and oneDNN's product rate (many), the products of training
// against oneDNN's, elementwise kernels against memory read and written in place.
#include <memory>

#include "base/parallel.h"
#include "bench_support.h"
#include "host_limits.h"
#include "ops/ops.h"

namespace wgqa::bench {
namespace {

constexpr std::int64_t kDModel = 768;
constexpr std::int64_t kDFf = 3072;
constexpr std::int64_t kVocab = 32128;

struct Shape {
  std::int64_t inFeatures;
  std::int64_t outFeatures;
};

// T5-base: a projection of attention, both of the feed-forward layer, the vocabulary.
constexpr Shape kShapes[] = {
    {kDModel, kDModel}, {kDModel, kDFf}, {kDFf, kDModel}, {kDModel, kVocab}};

std::string nameOf(const Shape& shape) {
  return std::to_string(shape.inFeatures) + " to " + std::to_string(shape.outFeatures);
}

std::vector<float> constant(std::int64_t count, float value) {
  return std::vector<float>(static_cast<std::size_t>(count), value);
}

TensorView matrix(std::vector<float>& values, std::int64_t rows, std::int64_t columns) {
  return {values.data(), DType::float32, {rows, columns}};
}

// One product with each of so many weights that no cache holds them, as decoding meets them.
class LinearProblem {
 public:
  LinearProblem(Ops& ops, Shape shape, std::int64_t rows, DType dtype, std::int64_t leastBytes)
      : ops_(ops),
        x_(constant(rows * shape.inFeatures, 0.0f)),
        out_(constant(rows * shape.outFeatures, 0.0f)) {
    const std::int64_t elements = shape.inFeatures * shape.outFeatures;
    do {
      weights_.push_back(constant(elements, 0.0f));
      packed_.push_back(
          ops.pack(matrix(weights_.back(), shape.outFeatures, shape.inFeatures), dtype));
      bytes_ += packed_.back()->bytes;
      if (dtype != DType::float32) weights_.clear();
    } while (bytes_ < leastBytes);
    // Zero bytes are the number 0 in every type.
    const DType input = dtype == DType::bfloat16 ? dtype : DType::float32;
    params_.x = ConstTensorView(x_.data(), input, {rows, shape.inFeatures});
    params_.out = matrix(out_, rows, shape.outFeatures);
    flops_ = 2.0 * static_cast<double>(rows * elements) * static_cast<double>(packed_.size());
  }

  double bytes() const { return static_cast<double>(bytes_); }
  double flops() const { return flops_; }

  void run() {
    for (const auto& weight : packed_) {
      params_.weight = weight.get();
      ops_.linear(params_);
    }
  }

 private:
  Ops& ops_;
  std::vector<std::vector<float>> weights_;
  std::vector<std::unique_ptr<PackedWeight>> packed_;
  std::vector<float> x_;
  std::vector<float> out_;
  Linear params_;
  std::int64_t bytes_ = 0;
  double flops_ = 0.0;
};

std::string linearName(const Shape& shape, std::int64_t rows, DType dtype) {
  return "linear " + nameOf(shape) + " " + std::string(dtypeName(dtype)) + ", " +
         std::to_string(rows) + (rows == 1 ? " row" : " rows");
}

void measureFewRows(Ops& ops, const Options& options, std::vector<Ratio>& ratios) {
  constexpr std::int64_t kColdBytes = std::int64_t{96} << 20;
  for (const DType dtype : {DType::float32, DType::bfloat16, DType::int8}) {
    if (ops.whyUnsupported({.dtype = dtype})) continue;
    std::vector<Subject> subjects;
    for (const Shape& shape : kShapes) {
      for (const std::int64_t rows : {1, 8}) {
        const auto problem = std::make_shared<LinearProblem>(ops, shape, rows, dtype, kColdBytes);
        subjects.push_back({.name = linearName(shape, rows, dtype),
                            .work = problem->bytes(),
                            .run = [problem] { problem->run(); }});
      }
    }
    compare(readBandwidth(), std::move(subjects), "GB/s", options, ratios);
  }
}

void measureManyRows(Ops& ops, const Options& options, std::vector<Ratio>& ratios) {
  for (const DType dtype : {DType::float32, DType::bfloat16, DType::int8}) {
    const auto limit = productRate(dtype);
    if (!limit || ops.whyUnsupported({.dtype = dtype})) continue;
    std::vector<Subject> subjects;
    for (const Shape& shape : kShapes) {
      for (const std::int64_t rows : {32, 512}) {
        if (rows * shape.outFeatures > 512 * kDFf) continue;
        const auto problem = std::make_shared<LinearProblem>(ops, shape, rows, dtype, 1);
        subjects.push_back({.name = linearName(shape, rows, dtype),
                            .work = problem->flops(),
                            .run = [problem] { problem->run(); }});
      }
    }
    compare(*limit, std::move(subjects), "GFLOP/s", options, ratios);
  }
}

// The products of a training step with one weight of T5-small's feed-forward layer.
struct TrainingProblem {
  static constexpr std::int64_t kRows = 777;
  static constexpr std::int64_t kIn = 512;
  static constexpr std::int64_t kOut = 2048;
  static constexpr double kFlops = 2.0 * kRows * kIn * kOut;
  std::vector<float> x = constant(kRows * kIn, 0.0f);
  std::vector<float> weight = constant(kIn * kOut, 0.0f);
  std::vector<float> y = constant(kRows * kOut, 0.0f);
  TensorView xView = matrix(x, kRows, kIn);
  TensorView weightView = matrix(weight, kOut, kIn);
  TensorView yView = matrix(y, kRows, kOut);
};

void measureTraining(Ops& ops, const Options& options, std::vector<Ratio>& ratios) {
  const auto t = std::make_shared<TrainingProblem>();
  const auto subject = [&](const char* name, auto run) {
    return Subject{.name = name, .work = TrainingProblem::kFlops, .run = run};
  };
  compare(productRate(DType::float32).value(),
          {subject("training y = x W^T, 777 x 512 x 2048",
                   [&ops, t] {
                     ops.matmul({t->xView, t->weightView.transposed(), t->yView});
                   }),
           subject("training dX = dY W, 777 x 2048 x 512",
                   [&ops, t] {
                     ops.matmul({t->yView, t->weightView, t->xView});
                   }),
           subject("training dW += dY^T X, 2048 x 777 x 512",
                   [&ops, t] {
                     ops.matmul({t->yView.transposed(), t->xView, t->weightView, 1.0f, 1.0f});
                   })},
          "GFLOP/s", options, ratios);
}

constexpr std::int64_t kStreamElements = std::int64_t{1} << 24;  // 64 MiB

// Reads and writes an array larger than any cache with all threads.
Subject updateBandwidth() {
  const auto values = std::make_shared<std::vector<float>>(constant(kStreamElements, 0.0f));
  const auto run = [values] {
    parallelFor(kStreamElements, 1 << 16, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t i = begin; i < end; ++i) (*values)[i] += 1.0f;
    });
  };
  return {.name = "update bandwidth", .work = kStreamElements * 8.0, .run = run};
}

// Operations of few computations per element; `work` counts every tensor read or written once.
struct StreamProblem {
  static constexpr std::int64_t kRows = kStreamElements / kDModel;
  std::vector<float> a = constant(kStreamElements, 0.5f);
  std::vector<float> b = constant(kStreamElements, 0.5f);
  std::vector<float> c = constant(kStreamElements, 0.5f);
  std::vector<float> d = constant(kStreamElements, 0.5f);
  std::vector<std::int32_t> labels = std::vector<std::int32_t>(kStreamElements / kVocab, 7);
  AdamW::Parameter parameter = {view(a, 1, kStreamElements), view(b, 1, kStreamElements),
                                view(c, 1, kStreamElements), view(d, 1, kStreamElements), 0.01f};

  static TensorView view(std::vector<float>& x, std::int64_t rows, std::int64_t columns) {
    return matrix(x, rows, columns);
  }
};

void measureStreams(Ops& ops, const Options& options, std::vector<Ratio>& ratios) {
  const auto s = std::make_shared<StreamProblem>();
  const auto subject = [&](const char* name, int accesses, auto run) {
    return Subject{.name = name, .work = accesses * kStreamElements * 4.0, .run = run};
  };
  const auto rows = [](std::vector<float>& x) { return matrix(x, StreamProblem::kRows, kDModel); };
  std::vector<Subject> subjects;
  subjects.push_back(subject("AdamW", 7, [&ops, s] {
    ops.adamW({.parameters = {&s->parameter, 1}, .learningRate = 1e-4f});
  }));
  subjects.push_back(subject("RMS norm", 2, [&ops, s, rows] {
    ops.rmsNorm({rows(s->a), matrix(s->b, 1, kDModel), 1e-6f, rows(s->c), {}});
  }));
  subjects.push_back(subject("dropout and residual", 3, [&ops, s, rows] {
    ops.dropout({rows(s->a), rows(s->b), {0.1f, {1, 2}}, rows(s->c)});
  }));
  subjects.push_back(subject("gated gelu with dropout", 3, [&ops, s, rows] {
    ops.gatedActivation({Activation::geluTanh, rows(s->a), rows(s->b), {0.1f, {1, 2}}, rows(s->c)});
  }));
  subjects.push_back(subject("cross-entropy and its gradient", 2, [&ops, s] {
    const auto count = static_cast<std::int64_t>(s->labels.size());
    ops.crossEntropy(
        {matrix(s->a, count, kVocab), s->labels, 1e-3f, matrix(s->c, count, kVocab), nullptr});
  }));
  compare(updateBandwidth(), std::move(subjects), "GB/s", options, ratios);
  compare(readBandwidth(),
          {subject("squared norm", 1,
                   [&ops, s] {
                     const ConstTensorView tensor = matrix(s->b, 1, kStreamElements);
                     ops.squaredNorm({&tensor, 1});
                   })},
          "GB/s", options, ratios);
}

int run(int argc, char** argv) {
  Options options;
  if (!parseOptions(argc, argv, options)) return 2;
  const std::unique_ptr<Ops> ops = makeCpuOps();
  std::vector<Ratio> ratios;
  measureFewRows(*ops, options, ratios);
  measureManyRows(*ops, options, ratios);
  measureTraining(*ops, options, ratios);
  measureStreams(*ops, options, ratios);
  return report("dense products and elementwise kernels on the CPU", ratios, options);
}

}  // namespace
}  // namespace wgqa::bench

int main(int argc, char** argv) { return wgqa::bench::run(argc, argv); }
