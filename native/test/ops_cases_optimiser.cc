#include <cmath>

#include "test/ops_table.h"

namespace wgqa::test {
namespace {

// Squares of small numbers, as second moments are.
Fill squares(double deviation) {
  return [deviation](Random& random) { return std::pow(deviation * random.normal(), 2); };
}

struct Shape {
  std::int64_t rows = 1;
  std::int64_t columns = 1;
};

std::string nameOf(const std::vector<Shape>& shapes) {
  std::string name = "parameters";
  for (const Shape& s : shapes) {
    name += " " + std::to_string(s.rows) + "x" + std::to_string(s.columns);
  }
  return name;
}

std::vector<Shape> randomShapes(Random& random) {
  std::vector<Shape> shapes;
  for (std::int64_t i = random.integer(1, 4); i > 0; --i) {
    shapes.push_back({random.integer(1, 40), random.integer(1, 70)});
  }
  return shapes;
}

std::vector<Shape> tableShapes() {
  return {{1, 1}, {3, 7}, {1, 97}, {65, 40}, {17, 24}, {130, 64}};
}

// ---------------------------------------------------------------------------- AdamW

struct AdamWSpec {
  std::vector<Shape> shapes;
  float weightDecay = 0.01f;
  float gradScale = 1.0f;
  std::int64_t step = 1;
};

OpCase adamWCase(const AdamWSpec& spec) {
  const auto run = [spec](Ops& ops, CaseTensors& tensors) {
    std::vector<AdamW::Parameter> parameters;
    for (const Shape& s : spec.shapes) {
      const TensorSpec matrix = float32Of({s.rows, s.columns});
      parameters.push_back({.value = tensors.update("value", matrix, normal()),
                            .grad = tensors.input("grad", matrix, normal(0.1)),
                            .firstMoment = tensors.update("firstMoment", matrix, normal(0.1)),
                            .secondMoment = tensors.update("secondMoment", matrix, squares(0.1)),
                            .weightDecay = spec.weightDecay});
    }
    ops.adamW({.parameters = parameters,
               .learningRate = 1e-2f,
               .gradScale = spec.gradScale,
               .step = spec.step});
  };
  return {.name = nameOf(spec.shapes) + ", decay " + std::to_string(spec.weightDecay) +
                  ", gradScale " + std::to_string(spec.gradScale) + ", step " +
                  std::to_string(spec.step),
          .run = run,
          .needs = {}};
}

OpRow adamWRow() {
  return {.op = "adamW",
          .sameBitsForAnyThreads = true,
          .cases = {adamWCase({tableShapes(), 0.0f, 1.0f, 1}),
                    adamWCase({tableShapes(), 0.01f, 0.5f, 2}),
                    adamWCase({tableShapes(), 0.1f, 0.001f, 100000}), adamWCase({{{1, 70001}}})},
          .randomCase = [](Random& random) {
            return adamWCase({randomShapes(random), random.oneOf({0.0f, 0.01f}),
                              random.oneOf({1.0f, 0.3f}), random.integer(1, 1000)});
          }};
}

// ---------------------------------------------------------------------------- Adafactor

struct AdafactorSpec {
  std::vector<Shape> shapes;
  bool factored = true;
  bool scaleByParameter = false;
  float weightDecay = 0.0f;
  float gradScale = 1.0f;
  float clipThreshold = 1.0f;
  std::int64_t step = 1;
};

Adafactor::Parameter makeParameter(CaseTensors& tensors, const AdafactorSpec& spec,
                                   const Shape& s) {
  const TensorSpec matrix = float32Of({s.rows, s.columns});
  Adafactor::Parameter parameter;
  parameter.value = tensors.update("value", matrix, normal());
  parameter.grad = tensors.input("grad", matrix, normal(0.1));
  if (spec.factored) {
    parameter.rowMoment = tensors.update("rowMoment", float32Of({s.rows}), squares(0.1));
    parameter.columnMoment = tensors.update("columnMoment", float32Of({s.columns}), squares(0.1));
  } else {
    parameter.moment = tensors.update("moment", matrix, squares(0.1));
  }
  parameter.weightDecay = spec.weightDecay;
  return parameter;
}

OpCase adafactorCase(const AdafactorSpec& spec) {
  const auto run = [spec](Ops& ops, CaseTensors& tensors) {
    std::vector<Adafactor::Parameter> parameters;
    for (const Shape& s : spec.shapes) parameters.push_back(makeParameter(tensors, spec, s));
    ops.adafactor({.parameters = parameters,
                   .learningRate = 1e-2f,
                   .scaleByParameter = spec.scaleByParameter,
                   .clipThreshold = spec.clipThreshold,
                   .gradScale = spec.gradScale,
                   .step = spec.step});
  };
  return {.name = nameOf(spec.shapes) + (spec.factored ? ", factored" : "") +
                  (spec.scaleByParameter ? ", scaled by parameter" : "") + ", decay " +
                  std::to_string(spec.weightDecay) + ", gradScale " +
                  std::to_string(spec.gradScale) + ", clip " + std::to_string(spec.clipThreshold) +
                  ", step " + std::to_string(spec.step),
          .run = run,
          .needs = {}};
}

OpRow adafactorRow() {
  OpRow row{.op = "adafactor",
            .sameBitsForAnyThreads = true,
            .cases = {},
            .randomCase = [](Random& random) {
              return adafactorCase({randomShapes(random), random.coin(), random.coin(),
                                    random.oneOf({0.0f, 0.01f}), random.oneOf({1.0f, 0.3f}),
                                    random.oneOf({1.0f, 100.0f}), random.integer(1, 1000)});
            }};
  for (const bool factored : {false, true}) {
    for (const bool scaled : {false, true}) {
      row.cases.push_back(adafactorCase({tableShapes(), factored, scaled}));
      row.cases.push_back(
          adafactorCase({tableShapes(), factored, scaled, 0.01f, 0.5f, 100.0f, 1000}));
    }
  }
  return row;
}

// ---------------------------------------------------------------------------- squared norm

OpCase squaredNormCase(const std::vector<Shape>& shapes) {
  const auto run = [shapes](Ops& ops, CaseTensors& tensors) {
    std::vector<ConstTensorView> views;
    for (const Shape& s : shapes) {
      views.push_back(tensors.input("tensor", float32Of({s.rows, s.columns}), normal()));
    }
    tensors.scalar("squaredNorm", ops.squaredNorm(views));
  };
  return {.name = nameOf(shapes), .run = run, .needs = {}};
}

OpRow squaredNormRow() {
  return {.op = "squaredNorm",
          .sameBitsForAnyThreads = true,
          .cases = {squaredNormCase({}), squaredNormCase({{1, 1}}), squaredNormCase(tableShapes()),
                    squaredNormCase({{1, 1}, {70, 1001}, {1, 7}})},
          .randomCase = [](Random& random) { return squaredNormCase(randomShapes(random)); }};
}

}  // namespace

std::vector<OpRow> optimiserRows() { return {adamWRow(), adafactorRow(), squaredNormRow()}; }

}  // namespace wgqa::test
