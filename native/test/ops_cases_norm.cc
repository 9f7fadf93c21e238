#include "ops/reference/functions.h"
#include "test/ops_table.h"

namespace wgqa::test {
namespace {

struct Sizes {
  std::int64_t rows = 1;
  std::int64_t dModel = 1;
  double magnitude = 1.0;  // standard deviation of x
  DType out = DType::float32;
  bool keepsInverse = true;
};

constexpr float kEpsilon = 1e-6f;

std::string nameOf(const Sizes& s) {
  return std::to_string(s.rows) + " x " + std::to_string(s.dModel) + ", magnitude " +
         std::to_string(s.magnitude) + ", " + std::string(dtypeName(s.out)) +
         (s.keepsInverse ? "" : ", no inverseRms");
}

OpCase forwardCase(const Sizes& s) {
  return {
      .name = nameOf(s),
      .run =
          [s](Ops& ops, CaseTensors& tensors) {
            ops.rmsNorm(
                {.x = tensors.input("x", float32Of({s.rows, s.dModel}), normal(s.magnitude)),
                 .weight = tensors.input("weight", float32Of({s.dModel}), normal()),
                 .epsilon = kEpsilon,
                 .out = tensors.output("out", {s.out, {s.rows, s.dModel}}),
                 .inverseRms = s.keepsInverse ? tensors.output("inverseRms", float32Of({s.rows}))
                                              : TensorView()});
          },
      .needs = {.dtype = s.out}};
}

OpCase backwardCase(const Sizes& s) {
  return {
      .name = nameOf(s),
      .run =
          [s](Ops& ops, CaseTensors& tensors) {
            const TensorSpec matrix = float32Of({s.rows, s.dModel});
            const auto x = tensors.input("x", matrix, normal(s.magnitude));
            const auto weight = tensors.input("weight", float32Of({s.dModel}), normal());
            const auto forward =
                reference::rmsNorm(tensors.values(x), tensors.values(weight), kEpsilon);
            ops.rmsNormBackward(
                {.x = x,
                 .weight = weight,
                 .inverseRms = tensors.input("inverseRms", float32Of({s.rows}), forward.inverseRms),
                 .gradOut = tensors.input("gradOut", matrix, normal()),
                 .gradX = tensors.update("gradX", matrix, normal(1.0 / s.magnitude)),
                 .gradWeight = tensors.update("gradWeight", float32Of({s.dModel}), normal())});
          },
      .needs = {}};
}

}  // namespace

std::vector<OpRow> normRows() {
  OpRow forward{
      .op = "rmsNorm",
      .sameBitsForAnyThreads = true,
      .cases = {},
      .randomCase = [](Random& random) {
        return forwardCase({random.integer(1, 70), random.integer(1, 150), 1.0,
                            random.oneOf({DType::float32, DType::float16, DType::bfloat16}),
                            random.coin()});
      }};
  OpRow backward{.op = "rmsNormBackward",
                 .sameBitsForAnyThreads = true,
                 .cases = {},
                 .randomCase = [](Random& random) {
                   return backwardCase({random.integer(1, 70), random.integer(1, 150)});
                 }};
  // Magnitude 1e-4 makes epsilon count; 1e-30 leaves nothing else.
  for (const Sizes& s :
       {Sizes{1, 1}, Sizes{3, 7}, Sizes{17, 24}, Sizes{65, 40}, Sizes{130, 64}, Sizes{2, 511},
        Sizes{5, 512, 1e4}, Sizes{3, 768, 1e-4}, Sizes{3, 80, 1e-30}, Sizes{1000, 31}}) {
    forward.cases.push_back(forwardCase({s.rows, s.dModel, s.magnitude, DType::float32, true}));
    for (const DType out : {DType::float16, DType::bfloat16}) {
      forward.cases.push_back(forwardCase({s.rows, s.dModel, s.magnitude, out, false}));
    }
    if (s.magnitude >= 1e-4) backward.cases.push_back(backwardCase(s));
  }
  return {forward, backward};
}

}  // namespace wgqa::test
