#include "model/t5_derived.h"

#include "model/t5_model.h"

namespace wgqa {
namespace {

// One weight per head, row or column reduces all heads to those of the groups.
DerivedProjection mergedHeads(const T5Model& model, AttentionModule module, std::int64_t layer,
                              Parameter* base, Parameter* weight) {
  const T5Config& c = model.config();
  const std::int64_t kvHeads = c.module(module).kvHeadsIn(layer);
  DerivedProjection derived{base, weight};
  derived.granularity = c.granularity;
  derived.constraint = c.constraint;
  derived.groups = model.kvHeadOf(module, layer);
  derived.baseShape = {c.heads, c.dKv, c.dModel};
  const std::vector<std::int64_t>& shape = weight->shape();
  derived.weightShape = {shape[0], shape[1], shape[2]};
  derived.resultHeads = kvHeads;
  derived.matrixShape = {kvHeads * c.dKv, c.dModel};
  return derived;
}

// Each row of Q by the weight of its head's channel: every head is a group of its own.
DerivedProjection scaledRows(const T5Model& model, Parameter* base, Parameter* weight) {
  const T5Config& c = model.config();
  DerivedProjection derived{base, weight};
  derived.granularity = MergeGranularity::column;
  derived.groups = model.everyHead();
  derived.baseShape = {c.heads, c.dKv, c.dModel};
  derived.weightShape = {c.heads, c.dKv, 1};
  derived.resultHeads = c.heads;
  derived.matrixShape = {c.innerDim(), c.dModel};
  return derived;
}

// Each column of O: the whole matrix as one head whose "dModel" is that of the channels.
DerivedProjection scaledColumns(const T5Model& model, Parameter* base, Parameter* weight) {
  const T5Config& c = model.config();
  DerivedProjection derived{base, weight};
  derived.granularity = MergeGranularity::row;
  derived.groups = model.everyHead().first(1);
  derived.baseShape = {1, c.dModel, c.innerDim()};
  derived.weightShape = {1, 1, c.innerDim()};
  derived.resultHeads = 1;
  derived.matrixShape = {c.dModel, c.innerDim()};
  return derived;
}

}  // namespace

DerivedProjection derivedProjection(const T5Model& model, AttentionModule module,
                                    std::int64_t layer, const AttentionParameters& parameters,
                                    Projection projection) {
  const bool isMerged = model.config().module(module).merged;
  const bool isExpanded = model.config().module(module).expanded;
  switch (projection) {
    case Projection::q:
      if (isExpanded) return scaledRows(model, parameters.q, parameters.kExpansionWeight);
      return {parameters.q};
    case Projection::k:
      if (isMerged) {
        return mergedHeads(model, module, layer, parameters.k, parameters.kMergeWeight);
      }
      return {parameters.k};
    case Projection::v:
      if (isMerged) {
        return mergedHeads(model, module, layer, parameters.v, parameters.vMergeWeight);
      }
      return {parameters.v};
    case Projection::o:
      break;
  }
  if (isExpanded) return scaledColumns(model, parameters.o, parameters.vExpansionWeight);
  return {parameters.o};
}

// Half-precision checkpoints are widened first: all of this is float32 arithmetic.

void constrainWeight(Ops& ops, const DerivedProjection& projection, const TensorView& weight) {
  Buffer copy;
  ConstrainMergeWeights constrain;
  constrain.constraint = projection.constraint;
  constrain.raw = projection.asWeight(projection.weight->asFloat32(ops, copy));
  constrain.kvHeadOf = projection.groups;
  constrain.weight = projection.asWeight(weight);
  ops.constrainMergeWeights(constrain);
}

void derive(Ops& ops, const DerivedProjection& projection, const TensorView& matrix) {
  Buffer memory;
  if (projection.constraint == MergeConstraint::none) {
    return derive(ops, projection, projection.weight->asFloat32(ops, memory), matrix);
  }
  const std::int64_t count = projection.weight->elements();
  memory = Buffer(ops.memory(), static_cast<std::size_t>(count) * sizeof(float));
  const TensorView weight(memory.as<float>(), DType::float32, {count});
  constrainWeight(ops, projection, weight);
  derive(ops, projection, weight, matrix);
}

void derive(Ops& ops, const DerivedProjection& projection, const ConstTensorView& weight,
            const TensorView& matrix) {
  Buffer copy;
  MergeHeads merge;
  merge.granularity = projection.granularity;
  merge.base = projection.asBase(projection.base->asFloat32(ops, copy));
  merge.weight = projection.asWeight(weight);
  merge.kvHeadOf = projection.groups;
  merge.merged = projection.asResult(matrix);
  ops.mergeHeads(merge);
}

}  // namespace wgqa
