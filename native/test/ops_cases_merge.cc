#include "test/ops_merge_specs.h"
#include "test/ops_table.h"

namespace wgqa::test {
namespace {

TensorSpec baseSpec(const MergeSpec& spec) {
  return float32Of({spec.map.heads(), spec.headDim, spec.dModel});
}

TensorSpec mergedSpec(const MergeSpec& spec) {
  return float32Of({spec.map.kvHeads(), spec.headDim, spec.dModel});
}

OpCase mergeCase(const MergeSpec& spec) {
  const auto run = [spec](Ops& ops, CaseTensors& tensors) {
    ops.mergeHeads({.granularity = spec.granularity,
                    .base = tensors.input("base", baseSpec(spec), normal()),
                    .weight = tensors.input("weight", mergeWeightSpec(spec), normal()),
                    .kvHeadOf = spec.map.kvHeadOf,
                    .merged = tensors.output("merged", mergedSpec(spec))});
  };
  return {.name = nameOf(spec), .run = run, .needs = {}};
}

OpCase mergeBackwardCase(const MergeSpec& spec, bool wantsBase) {
  const auto run = [spec, wantsBase](Ops& ops, CaseTensors& tensors) {
    ops.mergeHeadsBackward(
        {.granularity = spec.granularity,
         .base = tensors.input("base", baseSpec(spec), normal()),
         .weight = tensors.input("weight", mergeWeightSpec(spec), normal()),
         .kvHeadOf = spec.map.kvHeadOf,
         .gradMerged = tensors.input("gradMerged", mergedSpec(spec), normal()),
         .gradBase =
             wantsBase ? tensors.update("gradBase", baseSpec(spec), normal()) : TensorView(),
         .gradWeight = tensors.update("gradWeight", mergeWeightSpec(spec), normal())});
  };
  return {.name = nameOf(spec) + (wantsBase ? "" : ", weights only"), .run = run, .needs = {}};
}

}  // namespace

std::vector<OpRow> mergeRows() {
  OpRow forward{.op = "mergeHeads",
                .sameBitsForAnyThreads = true,
                .cases = {},
                .randomCase = [](Random& random) { return mergeCase(randomMerge(random)); }};
  OpRow backward{.op = "mergeHeadsBackward",
                 .sameBitsForAnyThreads = true,
                 .cases = {},
                 .randomCase = [](Random& random) {
                   return mergeBackwardCase(randomMerge(random), random.coin());
                 }};
  for (const auto granularity :
       {MergeGranularity::head, MergeGranularity::row, MergeGranularity::column}) {
    for (const MergeSpec& spec : {MergeSpec{granularity, equalGroups(1, 1), 1, 1},
                                  MergeSpec{granularity, equalGroups(4, 2), 8, 24},
                                  MergeSpec{granularity, {{0, 0, 0, 1, 2, 2}}, 40, 17},
                                  MergeSpec{granularity, equalGroups(6, 1), 24, 97},
                                  MergeSpec{granularity, equalGroups(3, 3), 7, 65},
                                  MergeSpec{granularity, equalGroups(12, 6), 64, 768}}) {
      forward.cases.push_back(mergeCase(spec));
      backward.cases.push_back(mergeBackwardCase(spec, true));
      backward.cases.push_back(mergeBackwardCase(spec, false));
    }
  }
  return {forward, backward};
}

}  // namespace wgqa::test
