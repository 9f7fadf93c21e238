#include "test/ops_merge_specs.h"

namespace wgqa::test {
namespace {

constexpr const char* kGranularityNames[] = {"head", "row", "column"};

}  // namespace

std::string nameOf(const MergeSpec& spec) {
  return std::string(kGranularityNames[static_cast<int>(spec.granularity)]) + ", " +
         nameOf(spec.map) + ", headDim " + std::to_string(spec.headDim) + ", dModel " +
         std::to_string(spec.dModel);
}

TensorSpec mergeWeightSpec(const MergeSpec& spec) {
  return float32Of({spec.map.heads(),
                    spec.granularity == MergeGranularity::column ? spec.headDim : 1,
                    spec.granularity == MergeGranularity::row ? spec.dModel : 1});
}

MergeSpec randomMerge(Random& random) {
  const auto granularity =
      random.oneOf({MergeGranularity::head, MergeGranularity::row, MergeGranularity::column});
  HeadMap map = randomGroups(random);
  return {granularity, std::move(map), random.integer(1, 40), random.integer(1, 70)};
}

}  // namespace wgqa::test
