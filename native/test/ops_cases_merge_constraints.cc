#include "ops/reference/functions.h"
#include "test/ops_merge_specs.h"
#include "test/ops_table.h"

namespace wgqa::test {
namespace {

// What the raw values are like.
struct RawValues {
  const char* name;
  Fill fill;
};

RawValues ordinary() { return {"ordinary", normal()}; }
// exp of them leaves float32's range.
RawValues large() {
  return {"large", [](Random& random) { return random.oneOf({-160.0, -80.0, 0.5, 80.0, 160.0}); }};
}
// Some groups are all zero, some in part.
RawValues sparse() {
  return {"sparse", [](Random& random) { return random.coin() ? random.normal() : 0.0; }};
}
RawValues zero() {
  return {"zero", [](Random&) { return 0.0; }};
}

struct ConstraintSpec {
  MergeConstraint constraint = MergeConstraint::softmax;
  MergeSpec merge;
  RawValues raw;
};

std::string nameOf(const ConstraintSpec& spec) {
  return std::string(spec.constraint == MergeConstraint::softmax ? "softmax" : "signed unit") +
         ", " + spec.raw.name + ", " + nameOf(spec.merge);
}

OpCase constrainCase(const ConstraintSpec& spec) {
  const auto run = [spec](Ops& ops, CaseTensors& tensors) {
    const TensorSpec shape = mergeWeightSpec(spec.merge);
    ops.constrainMergeWeights({.constraint = spec.constraint,
                               .raw = tensors.input("raw", shape, spec.raw.fill),
                               .kvHeadOf = spec.merge.map.kvHeadOf,
                               .weight = tensors.output("weight", shape)});
  };
  return {.name = nameOf(spec), .run = run, .needs = {}};
}

OpCase constrainBackwardCase(const ConstraintSpec& spec) {
  const auto run = [spec](Ops& ops, CaseTensors& tensors) {
    const TensorSpec shape = mergeWeightSpec(spec.merge);
    const auto& kvHeadOf = spec.merge.map.kvHeadOf;
    const ConstTensorView raw = tensors.input("raw", shape, spec.raw.fill);
    const Wide weight = reference::constrainMergeWeights(
        {spec.constraint, kvHeadOf, shape.shape[1] * shape.shape[2], tensors.values(raw)});
    ops.constrainMergeWeightsBackward({.constraint = spec.constraint,
                                       .raw = raw,
                                       .weight = tensors.input("weight", shape, weight),
                                       .kvHeadOf = kvHeadOf,
                                       .gradWeight = tensors.input("gradWeight", shape, normal()),
                                       .gradRaw = tensors.update("gradRaw", shape, normal())});
  };
  return {.name = nameOf(spec), .run = run, .needs = {}};
}

ConstraintSpec randomConstraint(Random& random) {
  const auto constraint = random.oneOf({MergeConstraint::softmax, MergeConstraint::signedUnit});
  MergeSpec merge = randomMerge(random);
  return {constraint, std::move(merge), random.oneOf({ordinary(), large(), sparse(), zero()})};
}

std::vector<ConstraintSpec> constraintSpecs() {
  std::vector<ConstraintSpec> specs;
  for (const auto constraint : {MergeConstraint::softmax, MergeConstraint::signedUnit}) {
    for (const auto granularity :
         {MergeGranularity::head, MergeGranularity::row, MergeGranularity::column}) {
      for (const MergeSpec& merge : {MergeSpec{granularity, equalGroups(1, 1), 1, 1},
                                     MergeSpec{granularity, equalGroups(4, 2), 8, 24},
                                     MergeSpec{granularity, {{0, 0, 0, 1, 2, 2}}, 40, 17},
                                     MergeSpec{granularity, equalGroups(6, 1), 24, 97},
                                     MergeSpec{granularity, equalGroups(3, 3), 7, 65},
                                     // Enough for several threads.
                                     MergeSpec{granularity, equalGroups(64, 2), 768, 768}}) {
        for (const RawValues& raw : {ordinary(), large(), sparse(), zero()}) {
          specs.push_back({constraint, merge, raw});
        }
      }
    }
  }
  return specs;
}

}  // namespace

std::vector<OpRow> mergeConstraintRows() {
  OpRow forward{
      .op = "constrainMergeWeights",
      .sameBitsForAnyThreads = true,
      .cases = {},
      .randomCase = [](Random& random) { return constrainCase(randomConstraint(random)); }};
  OpRow backward{
      .op = "constrainMergeWeightsBackward",
      .sameBitsForAnyThreads = true,
      .cases = {},
      .randomCase = [](Random& random) { return constrainBackwardCase(randomConstraint(random)); }};
  for (const ConstraintSpec& spec : constraintSpecs()) {
    forward.cases.push_back(constrainCase(spec));
    backward.cases.push_back(constrainBackwardCase(spec));
  }
  return {forward, backward};
}

}  // namespace wgqa::test
