#include "base/parallel.h"
#include "ops/cpu/grain.h"
#include "ops/cpu/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/merge_constraints.cc"
#include "hwy/foreach_target.h"

#include "ops/cpu/simd_inl.h"

HWY_BEFORE_NAMESPACE();
namespace wgqa::cpu::HWY_NAMESPACE {

// A vector of neighbouring elements in the weights of one group's heads: at `begin`, and at every
// `step` elements from there up to `end`.
struct GroupVector {
  std::int64_t begin;
  std::int64_t end;
  std::int64_t step;
  std::size_t valid;
};

// Calls visit(GroupVector) for the elements [begin, end) of each head's weight, group by group.
template <class Visit>
void forEachGroupVector(std::span<const std::int32_t> kvHeadOf, std::int64_t elements,
                        std::int64_t begin, std::int64_t end, const Visit& visit) {
  const auto heads = static_cast<std::int64_t>(kvHeadOf.size());
  for (std::int64_t first = 0, last = 0; first < heads; first = last) {
    while (last < heads && kvHeadOf[last] == kvHeadOf[first]) ++last;
    for (std::int64_t i = begin; i < end; i += hn::Lanes(FloatTag())) {
      visit(GroupVector{first * elements + i, last * elements + i, elements, lanesLeft(end, i)});
    }
  }
}

// The sum of term(where a head's vector begins) over the group.
template <class Term>
HWY_INLINE FloatVector sumOverGroup(const GroupVector& group, const Term& term) {
  FloatVector sum = hn::Zero(FloatTag());
  for (std::int64_t at = group.begin; at < group.end; at += group.step) {
    sum = hn::Add(sum, term(at));
  }
  return sum;
}

HWY_INLINE FloatVector magnitudeOf(const GroupVector& group, const float* raw) {
  return sumOverGroup(
      group, [&](std::int64_t at) HWY_ATTR { return hn::Abs(load(raw + at, group.valid)); });
}

HWY_INLINE FloatVector dotOf(const GroupVector& group, const float* a, const float* b) {
  return sumOverGroup(group, [&](std::int64_t at) HWY_ATTR {
    return hn::Mul(load(a + at, group.valid), load(b + at, group.valid));
  });
}

// `value` where x is positive, -value where it is negative, 0 elsewhere.
HWY_INLINE FloatVector withSignOf(FloatVector x, FloatVector value) {
  const FloatVector zero = hn::Zero(FloatTag());
  return hn::Sub(hn::IfThenElseZero(hn::Gt(x, zero), value),
                 hn::IfThenElseZero(hn::Lt(x, zero), value));
}

struct Softmax {
  static void forward(const GroupVector& group, const float* raw, float* weight) {
    const FloatTag d;
    FloatVector most = load(raw + group.begin, group.valid);
    for (std::int64_t at = group.begin; at < group.end; at += group.step) {
      most = hn::Max(most, load(raw + at, group.valid));
    }
    const FloatVector sum = sumOverGroup(group, [&](std::int64_t at) HWY_ATTR {
      const FloatVector power = hn::Exp(d, hn::Sub(load(raw + at, group.valid), most));
      store(power, weight + at, group.valid);
      return power;
    });
    for (std::int64_t at = group.begin; at < group.end; at += group.step) {
      store(hn::Div(load(weight + at, group.valid), sum), weight + at, group.valid);
    }
  }

  static void backward(const GroupVector& group, const float* /*raw*/, const float* weight,
                       const float* gradWeight, float* gradRaw) {
    const FloatVector along = dotOf(group, weight, gradWeight);
    for (std::int64_t at = group.begin; at < group.end; at += group.step) {
      const FloatVector across = hn::Sub(load(gradWeight + at, group.valid), along);
      store(hn::MulAdd(load(weight + at, group.valid), across, load(gradRaw + at, group.valid)),
            gradRaw + at, group.valid);
    }
  }
};

struct SignedUnit {
  static void forward(const GroupVector& group, const float* raw, float* weight) {
    const FloatVector magnitude = magnitudeOf(group, raw);
    const auto isZero = hn::Eq(magnitude, hn::Zero(FloatTag()));
    for (std::int64_t at = group.begin; at < group.end; at += group.step) {
      const FloatVector share = hn::Div(load(raw + at, group.valid), magnitude);
      store(hn::IfThenZeroElse(isZero, share), weight + at, group.valid);
    }
  }

  static void backward(const GroupVector& group, const float* raw, const float* weight,
                       const float* gradWeight, float* gradRaw) {
    const FloatVector magnitude = magnitudeOf(group, raw);
    const auto isZero = hn::Eq(magnitude, hn::Zero(FloatTag()));
    const FloatVector along = dotOf(group, weight, gradWeight);
    for (std::int64_t at = group.begin; at < group.end; at += group.step) {
      const FloatVector across = hn::Sub(load(gradWeight + at, group.valid),
                                         withSignOf(load(raw + at, group.valid), along));
      const FloatVector grad = hn::IfThenZeroElse(isZero, hn::Div(across, magnitude));
      store(hn::Add(load(gradRaw + at, group.valid), grad), gradRaw + at, group.valid);
    }
  }
};

std::int64_t elementsOfHead(const ConstTensorView& weight) {
  return weight.shape[1] * weight.shape[2];
}

template <class Constraint>
void forwardOf(const ConstrainMergeWeights& p, std::int64_t begin, std::int64_t end) {
  forEachGroupVector(p.kvHeadOf, elementsOfHead(p.raw), begin, end,
                     [&](const GroupVector& group) HWY_ATTR {
                       Constraint::forward(group, p.raw.as<float>(), p.weight.as<float>());
                     });
}

template <class Constraint>
void backwardOf(const ConstrainMergeWeightsBackward& p, std::int64_t begin, std::int64_t end) {
  forEachGroupVector(p.kvHeadOf, elementsOfHead(p.raw), begin, end,
                     [&](const GroupVector& group) HWY_ATTR {
                       Constraint::backward(group, p.raw.as<float>(), p.weight.as<float>(),
                                            p.gradWeight.as<float>(), p.gradRaw.as<float>());
                     });
}

void constrainElements(const ConstrainMergeWeights& p, std::int64_t begin, std::int64_t end) {
  if (p.constraint == MergeConstraint::softmax) {
    forwardOf<Softmax>(p, begin, end);
  } else {
    forwardOf<SignedUnit>(p, begin, end);
  }
}

void constrainElementsBackward(const ConstrainMergeWeightsBackward& p, std::int64_t begin,
                               std::int64_t end) {
  if (p.constraint == MergeConstraint::softmax) {
    backwardOf<Softmax>(p, begin, end);
  } else {
    backwardOf<SignedUnit>(p, begin, end);
  }
}

}  // namespace wgqa::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wgqa::cpu {
namespace {
HWY_EXPORT(constrainElements);
HWY_EXPORT(constrainElementsBackward);

// Elements of a head's weight are divided among threads: each is a sum over heads of its own.
template <class Body>
void forElements(const ConstTensorView& weight, const Body& body) {
  parallelFor(weight.shape[1] * weight.shape[2], rowGrain(weight.shape[0]),
              [&](std::int64_t begin, std::int64_t end, int) { body(begin, end); });
}
}  // namespace

void constrainMergeWeights(const ConstrainMergeWeights& p) {
  forElements(p.raw, [&](std::int64_t begin, std::int64_t end) {
    HWY_DYNAMIC_DISPATCH(constrainElements)(p, begin, end);
  });
}

void constrainMergeWeightsBackward(const ConstrainMergeWeightsBackward& p) {
  forElements(p.raw, [&](std::int64_t begin, std::int64_t end) {
    HWY_DYNAMIC_DISPATCH(constrainElementsBackward)(p, begin, end);
  });
}

}  // namespace wgqa::cpu
#endif
