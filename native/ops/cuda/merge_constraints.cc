#include "ops/cuda/kernels/merge_constraints.h"

#include "ops/cuda/grids.h"
#include "ops/cuda/head_groups.h"
#include "ops/cuda/operations.h"

namespace wgqa::cuda {
namespace {

MergeConstraintGroups groupsOf(const ConstTensorView& weight,
                               std::span<const std::int32_t> kvHeadOf, Session& session) {
  const std::int64_t groups = kvHeadOf.empty() ? 0 : kvHeadOf.back() + 1;
  const std::vector<std::int32_t> heads = groupHeads(kvHeadOf, groups);
  return {session.table(std::span<const std::int32_t>(heads)), groups,
          weight.shape[1] * weight.shape[2]};
}

template <typename Arguments>
void launchOverElements(Kernel<Arguments> kernel, const Arguments& arguments, Session& session) {
  const std::int64_t threads = arguments.groups.groups * arguments.groups.elements;
  session.launch(kernel, {divideUp(threads, kMergeConstraintThreads)}, {kMergeConstraintThreads},
                 arguments);
}

}  // namespace

void constrainMergeWeights(const ConstrainMergeWeights& p, Session& session) {
  launchOverElements(
      p.constraint == MergeConstraint::softmax ? kConstrainSoftmax : kConstrainSignedUnit,
      {.groups = groupsOf(p.raw, p.kvHeadOf, session),
       .raw = p.raw.as<float>(),
       .weight = p.weight.as<float>()},
      session);
}

void constrainMergeWeightsBackward(const ConstrainMergeWeightsBackward& p, Session& session) {
  launchOverElements(p.constraint == MergeConstraint::softmax ? kConstrainSoftmaxBackward
                                                              : kConstrainSignedUnitBackward,
                     {.groups = groupsOf(p.raw, p.kvHeadOf, session),
                      .raw = p.raw.as<float>(),
                      .weight = p.weight.as<float>(),
                      .gradWeight = p.gradWeight.as<float>(),
                      .gradRaw = p.gradRaw.as<float>()},
                     session);
}

}  // namespace wgqa::cuda
