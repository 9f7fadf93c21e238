#include "test/ops_attention_specs.h"
#include "test/ops_table.h"

namespace wgqa::test {
namespace {

struct MergeSpec {
  MergeGranularity granularity = MergeGranularity::head;
  HeadMap map;
  std::int64_t headDim = 8;
  std::int64_t dModel = 8;
};

constexpr const char* kGranularityNames[] = {"head", "row", "column"};

std::string nameOf(const MergeSpec& spec) {
  return std::string(kGranularityNames[static_cast<int>(spec.granularity)]) + ", " +
         nameOf(spec.map) + ", headDim " + std::to_string(spec.headDim) + ", dModel " +
         std::to_string(spec.dModel);
}

TensorSpec baseSpec(const MergeSpec& spec) {
  return float32Of({spec.map.heads(), spec.headDim, spec.dModel});
}

TensorSpec mergedSpec(const MergeSpec& spec) {
  return float32Of({spec.map.kvHeads(), spec.headDim, spec.dModel});
}

TensorSpec weightSpec(const MergeSpec& spec) {
  return float32Of({spec.map.heads(),
                    spec.granularity == MergeGranularity::column ? spec.headDim : 1,
                    spec.granularity == MergeGranularity::row ? spec.dModel : 1});
}

OpCase mergeCase(const MergeSpec& spec) {
  const auto run = [spec](Ops& ops, CaseTensors& tensors) {
    ops.mergeHeads({.granularity = spec.granularity,
                    .base = tensors.input("base", baseSpec(spec), normal()),
                    .weight = tensors.input("weight", weightSpec(spec), normal()),
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
         .weight = tensors.input("weight", weightSpec(spec), normal()),
         .kvHeadOf = spec.map.kvHeadOf,
         .gradMerged = tensors.input("gradMerged", mergedSpec(spec), normal()),
         .gradBase =
             wantsBase ? tensors.update("gradBase", baseSpec(spec), normal()) : TensorView(),
         .gradWeight = tensors.update("gradWeight", weightSpec(spec), normal())});
  };
  return {.name = nameOf(spec) + (wantsBase ? "" : ", weights only"), .run = run, .needs = {}};
}

MergeSpec randomMerge(Random& random) {
  const auto granularity =
      random.oneOf({MergeGranularity::head, MergeGranularity::row, MergeGranularity::column});
  HeadMap map = randomGroups(random);
  return {granularity, std::move(map), random.integer(1, 40), random.integer(1, 70)};
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
