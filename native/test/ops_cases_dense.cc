#include "test/ops_table.h"

namespace wgqa::test {
namespace {

struct LinearSizes {
  std::int64_t rows = 1;
  std::int64_t inFeatures = 1;
  std::int64_t outFeatures = 1;
  DType stored = DType::float32;   // of the weight before it is packed
  DType compute = DType::float32;  // of the packed weight
  float alpha = 1.0f;
  float beta = 0.0f;
  DType out = DType::float32;
  bool isWide = false;  // rows of wideLinearInput()
};

// What leaves the range of float16, beside what is within it.
double wideValue(Random& random) { return random.normal() * random.oneOf({1.0, 1e3, 1e6, 1e9}); }

// 16-bit results beside 16-bit weights are of their type: what attentionInput() gives.
DType roundedResult(DType compute) {
  return compute == DType::float16 ? DType::float16 : DType::bfloat16;
}

OpCase linearCase(const LinearSizes& s) {
  const auto run = [s](Ops& ops, CaseTensors& tensors) {
    const DType input = s.isWide ? wideLinearInput(s.compute) : linearInput(s.compute);
    const auto x =
        tensors.input("x", {input, {s.rows, s.inFeatures}}, s.isWide ? Fill(wideValue) : normal());
    const auto weight =
        tensors.input("weight", {s.stored, {s.outFeatures, s.inFeatures}}, normal());
    const TensorSpec result{s.out, {s.rows, s.outFeatures}};
    const auto packed = ops.pack(weight, s.compute);
    // With beta 0 the result must not depend on what `out` held: it holds NaN.
    const auto out =
        s.beta == 0.0f ? tensors.output("out", result) : tensors.update("out", result, normal());
    ops.linear({.x = x, .weight = packed.get(), .out = out, .alpha = s.alpha, .beta = s.beta});
  };
  return {.name = std::to_string(s.rows) + " x " + std::to_string(s.inFeatures) + " to " +
                  std::to_string(s.outFeatures) + ", " + std::string(dtypeName(s.stored)) +
                  " packed as " + std::string(dtypeName(s.compute)) + ", alpha " +
                  std::to_string(s.alpha) + ", beta " + std::to_string(s.beta) + ", to " +
                  std::string(dtypeName(s.out)) + (s.isWide ? ", of wide rows" : ""),
          .run = run,
          .needs = {.dtype = s.compute, .attentionInput = s.out}};
}

LinearSizes randomLinear(Random& random) {
  LinearSizes s{random.integer(1, 70), random.integer(1, 70), random.integer(1, 70)};
  s.stored = random.oneOf({DType::float32, DType::float16, DType::bfloat16});
  s.compute = random.oneOf({DType::float32, DType::float16, DType::bfloat16, DType::int8});
  s.alpha = random.oneOf({1.0f, -0.5f});
  s.beta = random.oneOf({0.0f, 1.0f, 0.25f});
  s.out = random.oneOf({DType::float32, roundedResult(s.compute)});
  s.isWide = s.out == DType::float32 && random.coin();
  return s;
}

struct MatmulSizes {
  std::int64_t m = 1;
  std::int64_t k = 1;
  std::int64_t n = 1;
  bool transposedA = false;
  bool transposedB = false;
  std::int64_t gap = 0;  // elements between the rows of each operand
  float alpha = 1.0f;
  float beta = 0.0f;
  DType dtype = DType::float32;  // of a and b
};

ConstTensorView operand(CaseTensors& tensors, const char* name, std::int64_t rows,
                        std::int64_t columns, bool transposed, const MatmulSizes& s) {
  if (!transposed) return tensors.input(name, {s.dtype, {rows, columns}, s.gap}, normal());
  return tensors.input(name, {s.dtype, {columns, rows}, s.gap}, normal()).transposed();
}

OpCase matmulCase(const MatmulSizes& s) {
  const auto run = [s](Ops& ops, CaseTensors& tensors) {
    const auto a = operand(tensors, "a", s.m, s.k, s.transposedA, s);
    const auto b = operand(tensors, "b", s.k, s.n, s.transposedB, s);
    const TensorSpec result{DType::float32, {s.m, s.n}, s.gap};
    const auto c =
        s.beta == 0.0f ? tensors.output("c", result) : tensors.update("c", result, normal());
    ops.matmul({.a = a, .b = b, .c = c, .alpha = s.alpha, .beta = s.beta});
  };
  return {.name = std::to_string(s.m) + " x " + std::to_string(s.k) + " x " + std::to_string(s.n) +
                  (s.transposedA ? ", a transposed" : "") +
                  (s.transposedB ? ", b transposed" : "") + ", gap " + std::to_string(s.gap) +
                  ", alpha " + std::to_string(s.alpha) + ", beta " + std::to_string(s.beta) + ", " +
                  std::string(dtypeName(s.dtype)),
          .run = run,
          // The result is float32 either way: products of bfloat16 numbers are exact in it, so its
          // tolerance is that of a float32 sum.
          .needs = {.dtype = s.dtype, .matmul = true}};
}

OpRow linearRow() {
  OpRow row{.op = "linear",
            .sameBitsForAnyThreads = false,
            .cases = {},
            .randomCase = [](Random& random) { return linearCase(randomLinear(random)); }};
  for (const DType compute : {DType::float32, DType::float16, DType::bfloat16, DType::int8}) {
    for (const DType stored : {DType::float32, DType::float16, DType::bfloat16}) {
      row.cases.push_back(linearCase({1, 1, 1, stored, compute}));
      row.cases.push_back(linearCase({1, 7, 5, stored, compute}));
      row.cases.push_back(linearCase({17, 24, 40, stored, compute, 2.0f, 1.0f}));
    }
    row.cases.push_back(linearCase({3, 64, 97, DType::float32, compute, 1.0f, 1.0f}));
    row.cases.push_back(linearCase({1, 512, 384, DType::float32, compute, 0.125f}));
    row.cases.push_back(linearCase({330, 40, 2100, DType::float32, compute, 1.0f, 1.0f}));
    // More rows than stay in the second-level cache.
    row.cases.push_back(linearCase({330, 413, 200, DType::float32, compute, 1.0f, 1.0f}));
    row.cases.push_back(linearCase({130, 80, 65, DType::float32, compute, 1.0f, -1.0f}));
    row.cases.push_back(linearCase({2, 17, 32128, DType::float32, compute}));
    row.cases.push_back(linearCase({2, 4097, 3, DType::float32, compute}));
    row.cases.push_back(
        linearCase({5, 48, 1030, DType::float32, compute, 0.5f, 1.0f, roundedResult(compute)}));
  }
  for (LinearSizes wide : {LinearSizes{1, 1, 1}, LinearSizes{3, 7, 5}, LinearSizes{17, 413, 200},
                           LinearSizes{2, 2051, 1030}}) {
    wide.compute = DType::float16;
    wide.isWide = true;
    row.cases.push_back(linearCase(wide));
    wide.alpha = 0.5f;
    wide.beta = 1.0f;
    row.cases.push_back(linearCase(wide));
  }
  return row;
}

OpRow matmulRow() {
  OpRow row{
      .op = "matmul",
      .sameBitsForAnyThreads = false,
      .cases = {},
      .randomCase = [](Random& random) {
        return matmulCase({random.integer(1, 60), random.integer(1, 60), random.integer(1, 60),
                           random.coin(), random.coin(), random.oneOf({0, 1, 7}),
                           random.oneOf({1.0f, 3.0f}), random.oneOf({0.0f, 1.0f, -0.5f}),
                           random.oneOf({DType::float32, DType::bfloat16})});
      }};
  for (const DType dtype : {DType::float32, DType::bfloat16}) {
    for (const bool a : {false, true}) {
      for (const bool b : {false, true}) {
        row.cases.push_back(matmulCase({1, 1, 1, a, b, 0, 1.0f, 0.0f, dtype}));
        row.cases.push_back(matmulCase({1, 17, 1, a, b, 3, 1.0f, 0.0f, dtype}));
        row.cases.push_back(matmulCase({5, 1, 7, a, b, 0, 0.5f, 0.0f, dtype}));
        row.cases.push_back(matmulCase({65, 40, 97, a, b, 0, 1.0f, 1.0f, dtype}));
        row.cases.push_back(matmulCase({64, 130, 24, a, b, 5, -1.0f, 1.0f, dtype}));
        row.cases.push_back(matmulCase({3, 2051, 2, a, b, 0, 1.0f, 0.0f, dtype}));
      }
    }
  }
  return row;
}

}  // namespace

std::vector<OpRow> denseRows() { return {linearRow(), matmulRow()}; }

}  // namespace wgqa::test
