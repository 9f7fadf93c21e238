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

struct DistilledSpec {
  LossSpec loss;
  float teacherWeight = 0.5f;
  float temperature = 2.0f;
  bool ownTeacher = false;  // the teacher's logits are the row's own: no divergence
};

std::string nameOf(const DistilledSpec& spec) {
  return nameOf(spec.loss) + ", weight " + std::to_string(spec.teacherWeight) + ", temperature " +
         std::to_string(spec.temperature) + (spec.ownTeacher ? ", its own teacher" : "");
}

OpCase distilledCase(const DistilledSpec& spec) {
  const auto run = [spec](Ops& ops, CaseTensors& tensors) {
    const auto labels = drawLabels(tensors.random(), spec.loss);
    const TensorSpec matrix = float32Of({spec.loss.rows, spec.loss.vocab});
    const Fill fill = normal(spec.loss.magnitude);
    double lossSum = 0.5;  // the operation adds to them
    double distillationSum = 0.25;
    DistilledCrossEntropy p;
    p.labels = labels;
    p.teacherWeight = spec.teacherWeight;
    p.temperature = spec.temperature;
    p.gradScale = 0.25f;
    p.lossSum = &lossSum;
    p.distillationSum = &distillationSum;
    if (spec.loss.inPlace) {
      p.gradLogits = tensors.update("logits", matrix, fill);
      p.logits = p.gradLogits;
    } else {
      p.logits = tensors.input("logits", matrix, fill);
      p.gradLogits = tensors.output("gradLogits", {spec.loss.gradient, matrix.shape});
    }
    p.teacherLogits = spec.ownTeacher ? p.logits : tensors.input("teacherLogits", matrix, fill);
    ops.distilledCrossEntropy(p);
    tensors.scalar("lossSum", lossSum);
    tensors.scalar("distillationSum", distillationSum);
  };
  // The gradient of the own teacher is the difference of equal numbers, rounded in products.
  return {.name = nameOf(spec), .run = run, .needs = {}, .magnitude = spec.ownTeacher ? 0.25 : 0.0};
}

template <typename Element>
std::vector<Element> downloaded(Ops& ops, const ConstTensorView& view) {
  std::vector<Element> values(view.elements());
  ops.download(view, values.data());
  return values;
}

// The same rows with a teacher of no weight and without one: how many elements of the gradients
// differ, and by how much the losses do.
OpCase withoutWeightCase(const LossSpec& spec) {
  const auto run = [spec](Ops& ops, CaseTensors& tensors) {
    const auto labels = drawLabels(tensors.random(), spec);
    const TensorSpec matrix = float32Of({spec.rows, spec.vocab});
    double plainSum = 0.0;
    double lossSum = 0.0;
    double distillationSum = 0.0;
    CrossEntropy plain;
    plain.logits = tensors.input("logits", matrix, normal(spec.magnitude));
    plain.labels = labels;
    plain.gradScale = 0.25f;
    plain.gradLogits = tensors.output("plain", matrix);
    plain.lossSum = &plainSum;
    ops.crossEntropy(plain);
    const ConstTensorView teacher = tensors.input("teacherLogits", matrix, normal(spec.magnitude));
    const TensorView grad = tensors.output("gradLogits", matrix);
    ops.distilledCrossEntropy({plain.logits, teacher, labels, 0.0f, 2.0f, plain.gradScale, grad,
                               &lossSum, &distillationSum});
    const auto expected = downloaded<float>(ops, plain.gradLogits);
    const auto values = downloaded<float>(ops, grad);
    double unequal = 0.0;
    for (std::size_t i = 0; i < values.size(); ++i) unequal += values[i] != expected[i] ? 1.0 : 0.0;
    tensors.scalar("unequalElements", unequal);
    tensors.scalar("lossDifference", lossSum - plainSum);
  };
  return {.name = nameOf(spec) + ", weight 0", .run = run, .needs = {}};
}

OpRow distilledRow() {
  OpRow row{.op = "distilledCrossEntropy",
            .sameBitsForAnyThreads = true,
            .cases = {},
            .randomCase = [](Random& random) {
              const LossSpec loss{random.integer(1, 70),
                                  random.integer(1, 150),
                                  random.oneOf({1.0, 10.0, 1e4}),
                                  true,
                                  random.coin(),
                                  false,
                                  random.oneOf({DType::float32, DType::bfloat16})};
              return distilledCase({loss, random.oneOf({0.0f, 0.3f, 1.0f}),
                                    random.oneOf({0.5f, 1.0f, 2.0f, 7.0f}), false});
            }};
  // Normal numbers reach 3.5 deviations: 80 is the largest of all logits.
  for (const LossSpec& loss :
       {LossSpec{1, 1}, LossSpec{1, 2}, LossSpec{3, 97}, LossSpec{130, 97, 10.0},
        LossSpec{17, 1021, 80.0 / 3.5}, LossSpec{65, 31, 1e4}, LossSpec{2, 32128}}) {
    DistilledSpec spec{loss};
    row.cases.push_back(distilledCase(spec));
    spec.temperature = 1.0f;
    row.cases.push_back(distilledCase(spec));
    spec.temperature = 0.5f;
    spec.teacherWeight = 1.0f;
    spec.loss.gradient = DType::bfloat16;
    row.cases.push_back(distilledCase(spec));
    spec.loss.inPlace = true;
    spec.temperature = 3.0f;
    spec.teacherWeight = 0.25f;
    row.cases.push_back(distilledCase(spec));
    row.cases.push_back(withoutWeightCase(loss));
  }
  const LossSpec odd{.rows = 5, .vocab = 97};
  row.cases.push_back(distilledCase({odd, 1.0f, 2.0f, true}));
  LossSpec ignored = odd;
  ignored.allIgnored = true;
  row.cases.push_back(distilledCase({ignored}));
  return row;
}

OpRow crossEntropyRow() {
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
  return row;
}

}  // namespace

std::vector<OpRow> lossRows() { return {crossEntropyRow(), distilledRow()}; }

}  // namespace wgqa::test
