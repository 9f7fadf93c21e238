// Projections that are computed from a matrix and learned weights: K and V heads merged by merge
// weights, rows of Q and columns of O scaled by those of weighted expansion. Folding puts the
// result in the matrix's place.
//
// Weighted expansion, which the authors of arXiv 2407.10855 leave to future work: query head h
// reads k * a_h and v * b_h instead of its group's k and v, channel by channel. Since
// q . (k * a) = (q * a) . k and O (v * b) = (O * b) v, it costs nothing once folded.
#pragma once

#include <array>
#include <span>

#include "model/t5_config.h"
#include "model/t5_parameters.h"

namespace wgqa {

class T5Model;

/// The arguments of MergeHeads but for the tensors' memory.
struct DerivedProjection {
  Parameter* base = nullptr;
  Parameter* weight = nullptr;
  MergeGranularity granularity = MergeGranularity::head;
  MergeConstraint constraint = MergeConstraint::none;
  std::span<const std::int32_t> groups = {};  // [base heads]
  std::array<std::int64_t, 3> baseShape{};
  std::array<std::int64_t, 3> weightShape{};
  std::int64_t resultHeads = 0;

  /// [rows, columns] of the matrix that it stands for.
  std::array<std::int64_t, 2> matrixShape{};

  template <typename Pointer>
  BasicTensorView<Pointer> asBase(const BasicTensorView<Pointer>& matrix) const {
    return {matrix.data, matrix.dtype, {baseShape[0], baseShape[1], baseShape[2]}};
  }
  template <typename Pointer>
  BasicTensorView<Pointer> asWeight(const BasicTensorView<Pointer>& values) const {
    return {values.data, values.dtype, {weightShape[0], weightShape[1], weightShape[2]}};
  }
  template <typename Pointer>
  BasicTensorView<Pointer> asResult(const BasicTensorView<Pointer>& matrix) const {
    return {matrix.data, matrix.dtype, {resultHeads, baseShape[1], baseShape[2]}};
  }
};

/// Which matrix of an attention.
enum class Projection : std::uint8_t { q, k, v, o };

/// How `projection` of an attention is derived, or one without `weight`: then it is its base.
DerivedProjection derivedProjection(const T5Model& model, AttentionModule module,
                                    std::int64_t layer, const AttentionParameters& parameters,
                                    Projection projection);

/// What `projection` weighs by, into `weight` [as its parameter] float32: where that is
/// constrained.
void constrainWeight(Ops& ops, const DerivedProjection& projection, const TensorView& weight);

/// Computes it into `matrix`, float32 of matrixShape in the memory of `ops`. `weight`: the
/// parameter's values, float32, or what constrainWeight made of them.
void derive(Ops& ops, const DerivedProjection& projection, const ConstTensorView& weight,
            const TensorView& matrix);
/// The same with the weight's memory for the time being.
void derive(Ops& ops, const DerivedProjection& projection, const TensorView& matrix);

}  // namespace wgqa
