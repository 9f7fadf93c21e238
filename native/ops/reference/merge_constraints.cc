#include <cmath>

#include "ops/reference/functions.h"
#include "ops/reference/reference_ops.h"

namespace wgqa::reference {
namespace {

// The sum of term(j) over the heads of `head`'s group; an element's values are `elements` apart.
template <typename Term>
double sumOverGroup(const MergeConstraintInputs& p, std::int64_t head, const Term& term) {
  double sum = 0.0;
  for (std::int64_t other = 0; other < std::ssize(p.kvHeadOf); ++other) {
    if (p.kvHeadOf[other] == p.kvHeadOf[head]) sum += term(other);
  }
  return sum;
}

// Calls at(head, element) for each element of the result.
template <typename At>
Wide forEachWeight(const MergeConstraintInputs& p, const At& at) {
  Wide result(p.raw.size());
  for (std::int64_t head = 0; head < std::ssize(p.kvHeadOf); ++head) {
    for (std::int64_t element = 0; element < p.elements; ++element) {
      result[head * p.elements + element] = at(head, element);
    }
  }
  return result;
}

double magnitudeOfGroup(const MergeConstraintInputs& p, std::int64_t head, std::int64_t element) {
  return sumOverGroup(
      p, head, [&](std::int64_t other) { return std::abs(p.raw[other * p.elements + element]); });
}

double signOf(double x) { return x > 0.0 ? 1.0 : x < 0.0 ? -1.0 : 0.0; }

// exp(raw_h) / sum_j exp(raw_j) = 1 / sum_j exp(raw_j - raw_h): of no size do these overflow to
// anything but the limit.
Wide softmax(const MergeConstraintInputs& p) {
  return forEachWeight(p, [&](std::int64_t head, std::int64_t element) {
    const double own = p.raw[head * p.elements + element];
    return 1.0 / sumOverGroup(p, head, [&](std::int64_t other) {
             return std::exp(p.raw[other * p.elements + element] - own);
           });
  });
}

Wide signedUnit(const MergeConstraintInputs& p) {
  return forEachWeight(p, [&](std::int64_t head, std::int64_t element) {
    const double magnitude = magnitudeOfGroup(p, head, element);
    return magnitude == 0.0 ? 0.0 : p.raw[head * p.elements + element] / magnitude;
  });
}

}  // namespace

Wide constrainMergeWeights(const MergeConstraintInputs& p) {
  require(p.constraint != MergeConstraint::none, "merge weights without a constraint");
  return p.constraint == MergeConstraint::softmax ? softmax(p) : signedUnit(p);
}

Wide constrainMergeWeightsBackward(const MergeConstraintInputs& p, const Wide& weight,
                                   const Wide& gradWeight) {
  require(p.constraint != MergeConstraint::none, "merge weights without a constraint");
  return forEachWeight(p, [&](std::int64_t head, std::int64_t element) {
    const std::int64_t index = head * p.elements + element;
    const double along = sumOverGroup(p, head, [&](std::int64_t other) {
      return weight[other * p.elements + element] * gradWeight[other * p.elements + element];
    });
    if (p.constraint == MergeConstraint::softmax)
      return weight[index] * (gradWeight[index] - along);
    const double magnitude = magnitudeOfGroup(p, head, element);
    if (magnitude == 0.0) return 0.0;
    return (gradWeight[index] - signOf(p.raw[index]) * along) / magnitude;
  });
}

namespace {

MergeConstraintInputs loadInputs(MergeConstraint constraint, const ConstTensorView& raw,
                                 std::span<const std::int32_t> kvHeadOf) {
  return {constraint, kvHeadOf, raw.shape[1] * raw.shape[2], load(raw)};
}

}  // namespace

void ReferenceOps::constrainMergeWeights(const ConstrainMergeWeights& p) {
  store(reference::constrainMergeWeights(loadInputs(p.constraint, p.raw, p.kvHeadOf)), p.weight);
}

void ReferenceOps::constrainMergeWeightsBackward(const ConstrainMergeWeightsBackward& p) {
  accumulate(reference::constrainMergeWeightsBackward(loadInputs(p.constraint, p.raw, p.kvHeadOf),
                                                      load(p.weight), load(p.gradWeight)),
             p.gradRaw);
}

}  // namespace wgqa::reference
