// What a case of merging heads is made of, shared by its rows of the table.
#pragma once

#include <cstdint>
#include <string>

#include "test/ops_attention_specs.h"

namespace wgqa::test {

struct MergeSpec {
  MergeGranularity granularity = MergeGranularity::head;
  HeadMap map;
  std::int64_t headDim = 8;
  std::int64_t dModel = 8;
};

std::string nameOf(const MergeSpec& spec);
/// Of the weight, by granularity.
TensorSpec mergeWeightSpec(const MergeSpec& spec);
MergeSpec randomMerge(Random& random);

}  // namespace wgqa::test
