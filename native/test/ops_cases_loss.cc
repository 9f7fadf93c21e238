#include "test/ops_table.h"

namespace wgqa::test {
namespace {

struct LossSpec {
  std::int64_t rows = 1;
  std::int64_t vocab = 2;
  double magnitude = 1.0;  // of the logits
  bool wantsGradient = true;
  bool inPlace = false;
  bool allIgnored = false;
  DType gradient = DType::float32;  // float32 in place
};

std::string nameOf(const LossSpec& spec) {
  return std::to_string(spec.rows) + " x " + std::to_string(spec.vocab) + ", logits to " +
         std::to_string(spec.magnitude) + (spec.wantsGradient ? "" : ", no gradient") +
         (spec.inPlace ? ", in place" : ", gradient " + std::string(dtypeName(spec.gradient))) +
         (spec.allIgnored ? ", all ignored" : "");
}

std::vector<std::int32_t> drawLabels(Random& random, const LossSpec& spec) {
  std::vector<std::int32_t> labels(spec.rows);
  for (auto& label : labels) {
    const bool ignored = spec.allIgnored || random.integer(0, 3) == 0;
    label = ignored ? kIgnoredLabel : static_cast<std::int32_t>(random.integer(0, spec.vocab - 1));
  }
  return labels;
}

OpCase lossCase(const LossSpec& spec) {
  const auto run = [spec](Ops& ops, CaseTensors& tensors) {
    const auto labels = drawLabels(tensors.random(), spec);
    const TensorSpec matrix = float32Of({spec.rows, spec.vocab});
    double lossSum = 0.5;  // the operation adds to it
    CrossEntropy p;
    p.labels = labels;
    p.gradScale = 0.25f;
    p.lossSum = &lossSum;
    if (spec.inPlace) {
      p.gradLogits = tensors.update("logits", matrix, normal(spec.magnitude));
      p.logits = p.gradLogits;
    } else {
      p.logits = tensors.input("logits", matrix, normal(spec.magnitude));
      if (spec.wantsGradient) {
        p.gradLogits = tensors.output("gradLogits", {spec.gradient, matrix.shape});
      }
    }
    ops.crossEntropy(p);
    tensors.scalar("lossSum", lossSum);
  };
  return {.name = nameOf(spec), .run = run, .needs = {}};
}

}  // namespace

std::vector<OpRow> lossRows() {
  OpRow row{.op = "crossEntropy",
            .sameBitsForAnyThreads = true,
            .cases = {},
            .randomCase = [](Random& random) {
              return lossCase({random.integer(1, 70), random.integer(1, 150),
                               random.oneOf({1.0, 10.0, 1e4}), random.coin(), random.coin(), false,
                               random.oneOf({DType::float32, DType::bfloat16})});
            }};
  for (const LossSpec& spec :
       {LossSpec{1, 1}, LossSpec{1, 2}, LossSpec{3, 97}, LossSpec{130, 97, 10.0},
        LossSpec{65, 31, 1e4}, LossSpec{2, 32128}, LossSpec{3, 32128, 1e4}, LossSpec{17, 1021}}) {
    LossSpec variant = spec;
    row.cases.push_back(lossCase(variant));
    variant.gradient = DType::bfloat16;
    row.cases.push_back(lossCase(variant));
    variant.inPlace = true;
    row.cases.push_back(lossCase(variant));
    variant.inPlace = false;
    variant.wantsGradient = false;
    row.cases.push_back(lossCase(variant));
  }
  row.cases.push_back(lossCase({.rows = 5, .vocab = 97, .allIgnored = true}));
  return {row};
}

}  // namespace wgqa::test
