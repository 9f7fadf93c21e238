#include <limits>

#include "test/ops_table.h"

namespace wgqa::test {
namespace {

DropoutSpec dropoutOf(float rate) { return {rate, {0x1234567890abcdefu, 0x300000007u}}; }

struct Sizes {
  std::int64_t rows = 1;
  std::int64_t columns = 1;
  float rate = 0.0f;
};

std::string nameOf(const Sizes& s) {
  return std::to_string(s.rows) + " x " + std::to_string(s.columns) + ", dropout " +
         std::to_string(s.rate);
}

Sizes randomSizes(Random& random) {
  return {random.integer(1, 60), random.integer(1, 150), random.oneOf({0.0f, 0.1f, 0.5f, 0.9f})};
}

std::vector<Sizes> tableSizes() {
  std::vector<Sizes> sizes;
  for (const float rate : {0.0f, 0.1f, 0.5f}) {
    for (const Sizes& s :
         {Sizes{1, 1}, Sizes{3, 7}, Sizes{17, 24}, Sizes{65, 40}, Sizes{130, 64}, Sizes{2, 2051}}) {
      sizes.push_back({s.rows, s.columns, rate});
    }
  }
  return sizes;
}

// ---------------------------------------------------------------------------- dropout

enum class Target { separate, input, residual };

// What is written in place is float32: `dtype` is then not looked at.
OpCase dropoutCase(const Sizes& s, bool hasResidual, Target target, DType dtype = DType::float32) {
  const auto run = [=](Ops& ops, CaseTensors& tensors) {
    const TensorSpec matrix = float32Of({s.rows, s.columns});
    TensorView x = tensors.update("x", matrix, normal());
    TensorView residual = hasResidual ? tensors.update("residual", matrix, normal()) : TensorView();
    const DType outDtype = target == Target::separate ? dtype : DType::float32;
    TensorView out = tensors.output("out", {outDtype, matrix.shape});
    if (target == Target::separate) {
      ops.dropout({.x = x, .residual = residual, .dropout = dropoutOf(s.rate), .out = out});
    } else {
      TensorView& inPlace = target == Target::input ? x : residual;
      ops.dropout({.x = x, .residual = residual, .dropout = dropoutOf(s.rate), .out = inPlace});
      ops.cast({.x = inPlace, .out = out});
    }
  };
  return {.name = nameOf(s) + (hasResidual ? ", residual" : "") +
                  (target == Target::input      ? std::string(", into x")
                   : target == Target::residual ? ", into residual"
                                                : ", " + std::string(dtypeName(dtype))),
          .run = run,
          .needs = {}};
}

OpRow dropoutRow() {
  OpRow row{.op = "dropout",
            .sameBitsForAnyThreads = true,
            .cases = {},
            .randomCase = [](Random& random) {
              const Sizes s = randomSizes(random);
              const auto target = random.oneOf({Target::separate, Target::input, Target::residual});
              return dropoutCase(s, target == Target::residual || random.coin(), target,
                                 random.oneOf({DType::float32, DType::bfloat16}));
            }};
  for (const Sizes& s : tableSizes()) {
    row.cases.push_back(dropoutCase(s, false, Target::separate));
    row.cases.push_back(dropoutCase(s, false, Target::input));
    row.cases.push_back(dropoutCase(s, true, Target::separate));
    row.cases.push_back(dropoutCase(s, true, Target::input));
    row.cases.push_back(dropoutCase(s, true, Target::residual));
    row.cases.push_back(dropoutCase(s, false, Target::separate, DType::bfloat16));
    row.cases.push_back(dropoutCase(s, true, Target::separate, DType::bfloat16));
  }
  return row;
}

// ---------------------------------------------------------------------------- gated activation

struct Gate {
  Activation activation = Activation::relu;
  bool hasLinear = false;
  double magnitude = 1.0;  // 100 drives exp and tanh to their limits
};

constexpr const char* kActivationNames[] = {"relu", "gelu", "geluTanh", "silu"};

std::string nameOf(const Gate& g) {
  return std::string(", ") + kActivationNames[static_cast<int>(g.activation)] +
         (g.hasLinear ? ", linear" : "") + ", magnitude " + std::to_string(g.magnitude);
}

OpCase gatedCase(const Sizes& s, const Gate& g, DType dtype) {
  const auto run = [=](Ops& ops, CaseTensors& tensors) {
    const TensorSpec matrix = float32Of({s.rows, s.columns});
    const auto gate = tensors.input("gate", matrix, normal(g.magnitude));
    const auto linear = g.hasLinear ? tensors.input("linear", matrix, normal()) : ConstTensorView();
    ops.gatedActivation({.activation = g.activation,
                         .gate = gate,
                         .linear = linear,
                         .dropout = dropoutOf(s.rate),
                         .out = tensors.output("out", {dtype, {s.rows, s.columns}})});
  };
  return {.name = nameOf(s) + nameOf(g) + ", " + std::string(dtypeName(dtype)),
          .run = run,
          .needs = {.dtype = dtype}};
}

// Gradients in place are float32: `dtype` is then not looked at.
OpCase gatedBackwardCase(const Sizes& s, const Gate& g, bool inPlace,
                         DType dtype = DType::float32) {
  const auto run = [=](Ops& ops, CaseTensors& tensors) {
    const TensorSpec matrix = float32Of({s.rows, s.columns});
    const auto gate = tensors.input("gate", matrix, normal(g.magnitude));
    const auto linear = g.hasLinear ? tensors.input("linear", matrix, normal()) : ConstTensorView();
    const auto gradOut = tensors.update("gradOut", matrix, normal());
    const TensorSpec result{inPlace ? DType::float32 : dtype, {s.rows, s.columns}};
    ops.gatedActivationBackward(
        {.activation = g.activation,
         .gate = gate,
         .linear = linear,
         .dropout = dropoutOf(s.rate),
         .gradOut = gradOut,
         .gradGate = inPlace ? gradOut : tensors.output("gradGate", result),
         .gradLinear = g.hasLinear ? tensors.output("gradLinear", result) : TensorView()});
  };
  return {.name = nameOf(s) + nameOf(g) +
                  (inPlace ? ", into gradOut" : ", " + std::string(dtypeName(dtype))),
          .run = run,
          .needs = {}};
}

Gate randomGate(Random& random) {
  return {
      random.oneOf({Activation::relu, Activation::gelu, Activation::geluTanh, Activation::silu}),
      random.coin(), random.oneOf({1.0, 100.0})};
}

std::vector<OpRow> gatedRows() {
  OpRow forward{.op = "gatedActivation",
                .sameBitsForAnyThreads = true,
                .cases = {},
                .randomCase = [](Random& random) {
                  return gatedCase(randomSizes(random), randomGate(random),
                                   random.oneOf({DType::float32, DType::bfloat16}));
                }};
  OpRow backward{.op = "gatedActivationBackward",
                 .sameBitsForAnyThreads = true,
                 .cases = {},
                 .randomCase = [](Random& random) {
                   return gatedBackwardCase(randomSizes(random), randomGate(random), random.coin(),
                                            random.oneOf({DType::float32, DType::bfloat16}));
                 }};
  for (const auto activation :
       {Activation::relu, Activation::gelu, Activation::geluTanh, Activation::silu}) {
    for (const bool hasLinear : {false, true}) {
      for (const Sizes& s : tableSizes()) {
        const Gate g{activation, hasLinear, s.columns == 40 ? 100.0 : 1.0};
        forward.cases.push_back(gatedCase(s, g, DType::float32));
        forward.cases.push_back(gatedCase(s, g, DType::bfloat16));
        backward.cases.push_back(gatedBackwardCase(s, g, false));
        backward.cases.push_back(gatedBackwardCase(s, g, true));
        backward.cases.push_back(gatedBackwardCase(s, g, false, DType::bfloat16));
      }
    }
  }
  return {forward, backward};
}

// ---------------------------------------------------------------------------- cast

// Ordinary numbers, and every now and then one that rounds, overflows or is not a number.
double castValue(Random& random) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  switch (random.integer(0, 7)) {
    case 0:
      return random.oneOf({0.0, -0.0, kInfinity, -kInfinity, 65504.0, 65519.0, 65520.0, -65536.0,
                           3.4028234e38, 1e-40, 0x1p-24, 0x1p-25, 0x1.8p-25, 0x1.ffcp-15});
    case 1:  // halfway between two bfloat16 numbers
      return 1.0 + 0x1p-8 * static_cast<double>(2 * random.integer(0, 127) + 1);
    case 2:  // halfway between two float16 numbers
      return 1.0 + 0x1p-11 * static_cast<double>(2 * random.integer(0, 1023) + 1);
    default:
      return random.normal();
  }
}

OpCase castCase(std::int64_t count, DType from, DType to) {
  const auto run = [=](Ops& ops, CaseTensors& tensors) {
    ops.cast({.x = tensors.input("x", {from, {count}}, castValue),
              .out = tensors.output("out", {to, {count}})});
  };
  return {.name = std::to_string(count) + " of " + std::string(dtypeName(from)) + " to " +
                  std::string(dtypeName(to)),
          .run = run,
          .needs = {},
          .slack = 0.0};  // rounding is to nearest even: one right answer
}

OpRow castRow() {
  OpRow row{
      .op = "cast", .sameBitsForAnyThreads = true, .cases = {}, .randomCase = [](Random& random) {
        const auto dtype = [&] {
          return random.oneOf({DType::float32, DType::float16, DType::bfloat16});
        };
        const DType from = dtype();
        return castCase(random.integer(1, 300), from, dtype());
      }};
  for (const DType from : {DType::float32, DType::float16, DType::bfloat16}) {
    for (const DType to : {DType::float32, DType::float16, DType::bfloat16}) {
      for (const std::int64_t count : {1, 7, 16, 17, 1021, 70000}) {
        row.cases.push_back(castCase(count, from, to));
      }
    }
  }
  return row;
}

}  // namespace

std::vector<OpRow> elementwiseRows() {
  std::vector<OpRow> rows = gatedRows();
  rows.push_back(dropoutRow());
  rows.push_back(castRow());
  return rows;
}

}  // namespace wgqa::test
