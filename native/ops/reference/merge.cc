#include "ops/reference/functions.h"
#include "ops/reference/reference_ops.h"

namespace wgqa::reference {
namespace {

// Calls visit(base index, weight index, merged index) for each element of the base heads.
template <typename Visit>
void forEachElement(const MergeInputs& p, const Visit& visit) {
  const auto heads = static_cast<std::int64_t>(p.kvHeadOf.size());
  for (std::int64_t head = 0; head < heads; ++head) {
    for (std::int64_t i = 0; i < p.headDim; ++i) {
      for (std::int64_t j = 0; j < p.dModel; ++j) {
        std::int64_t weight = head;
        if (p.granularity == MergeGranularity::row) weight = head * p.dModel + j;
        if (p.granularity == MergeGranularity::column) weight = head * p.headDim + i;
        visit((head * p.headDim + i) * p.dModel + j, weight,
              (p.kvHeadOf[head] * p.headDim + i) * p.dModel + j);
      }
    }
  }
}

}  // namespace

Wide mergeHeads(const MergeInputs& p) {
  Wide merged(p.kvHeads * p.headDim * p.dModel);
  forEachElement(p, [&](std::int64_t base, std::int64_t weight, std::int64_t out) {
    merged[out] += p.weight[weight] * p.base[base];
  });
  return merged;
}

MergeGradients mergeHeadsBackward(const MergeInputs& p, const Wide& gradMerged) {
  MergeGradients result{Wide(p.base.size()), Wide(p.weight.size())};
  forEachElement(p, [&](std::int64_t base, std::int64_t weight, std::int64_t out) {
    result.base[base] += p.weight[weight] * gradMerged[out];
    result.weight[weight] += p.base[base] * gradMerged[out];
  });
  return result;
}

namespace {

MergeInputs loadInputs(MergeGranularity granularity, std::span<const std::int32_t> kvHeadOf,
                       std::int64_t kvHeads, const ConstTensorView& base,
                       const ConstTensorView& weight) {
  return {granularity, kvHeadOf, kvHeads, base.shape[1], base.shape[2], load(base), load(weight)};
}

}  // namespace

void ReferenceOps::mergeHeads(const MergeHeads& p) {
  store(reference::mergeHeads(
            loadInputs(p.granularity, p.kvHeadOf, p.merged.shape[0], p.base, p.weight)),
        p.merged);
}

void ReferenceOps::mergeHeadsBackward(const MergeHeadsBackward& p) {
  const MergeGradients result = reference::mergeHeadsBackward(
      loadInputs(p.granularity, p.kvHeadOf, p.gradMerged.shape[0], p.base, p.weight),
      load(p.gradMerged));
  if (p.gradBase.given()) accumulate(result.base, p.gradBase);
  accumulate(result.weight, p.gradWeight);
}

}  // namespace wgqa::reference
