#include "base/parallel.h"
#include "ops/cpu/grain.h"
#include "ops/cpu/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/gated_activation.cc"
#include "hwy/foreach_target.h"

#include "ops/cpu/simd_inl.h"

HWY_BEFORE_NAMESPACE();
namespace wgqa::cpu::HWY_NAMESPACE {

/// An activation and its derivative at one vector of arguments.
struct ActivationVec {
  FloatVector value;
  FloatVector slope;
};

struct Relu {
  HWY_INLINE ActivationVec operator()(FloatVector z) const {
    const FloatTag d;
    const auto positive = hn::Gt(z, hn::Zero(d));
    // Max gives 0 for NaN on some targets; the blend keeps NaN visible.
    return {hn::IfThenZeroElse(hn::Le(z, hn::Zero(d)), z),
            hn::IfThenElseZero(positive, hn::Set(d, 1.0f))};
  }
};

struct Silu {
  HWY_INLINE ActivationVec operator()(FloatVector z) const {
    const FloatVector s = sigmoid(z);
    const FloatVector value = hn::Mul(z, s);
    return {value, hn::MulAdd(value, hn::Sub(hn::Set(FloatTag(), 1.0f), s), s)};
  }
};

// z Phi(z) with the normal distribution Phi and its density phi. Of |z|, 1 - Phi is phi times the
// polynomial in t = 1 / (1 + p |z| / sqrt(2)) of Abramowitz & Stegun 7.1.26, within 1e-7; the
// smaller tail is used, so that nothing cancels.
struct Gelu {
  HWY_INLINE ActivationVec operator()(FloatVector z) const {
    const FloatTag d;
    const auto set = [d](float value) { return hn::Set(d, value); };
    const FloatVector magnitude = hn::Abs(z);
    const FloatVector one = set(1.0f);
    const FloatVector t = hn::Div(one, hn::MulAdd(magnitude, set(0.23164189f), one));
    FloatVector polynomial = hn::MulAdd(t, set(0.5307027145f), set(-0.7265760135f));
    polynomial = hn::MulAdd(t, polynomial, set(0.7107068705f));
    polynomial = hn::MulAdd(t, polynomial, set(-0.142248368f));
    polynomial = hn::MulAdd(t, polynomial, set(0.127414796f));
    const FloatVector bell = hn::Exp(d, hn::Mul(set(-0.5f), hn::Mul(z, z)));
    const FloatVector tail = hn::Mul(bell, hn::Mul(t, polynomial));
    const FloatVector distribution =
        hn::IfThenElse(hn::Lt(z, hn::Zero(d)), tail, hn::Sub(one, tail));
    constexpr float kDensity = 0.3989422804014327f;  // 1 / sqrt(2 pi)
    const FloatVector slope = hn::MulAdd(hn::Mul(z, set(kDensity)), bell, distribution);
    return {hn::Mul(z, distribution), slope};
  }
};

// 0.5 z (1 + tanh(u)) = z sigmoid(2 u) with u = sqrt(2 / pi) (z + 0.044715 z^3).
struct GeluTanh {
  HWY_INLINE ActivationVec operator()(FloatVector z) const {
    const FloatTag d;
    constexpr float kTwiceRoot = 1.5957691216057308f;  // 2 sqrt(2 / pi)
    constexpr float kCubic = 0.044715f;
    const FloatVector square = hn::Mul(z, z);
    const FloatVector one = hn::Set(d, 1.0f);
    const FloatVector root = hn::Set(d, kTwiceRoot);
    const FloatVector inner = hn::MulAdd(square, hn::Set(d, kCubic), one);
    const FloatVector s = sigmoid(hn::Mul(root, hn::Mul(z, inner)));
    const FloatVector innerSlope = hn::Mul(root, hn::MulAdd(square, hn::Set(d, 3 * kCubic), one));
    const FloatVector value = hn::Mul(z, s);
    return {value, hn::MulAdd(hn::Mul(value, hn::Sub(one, s)), innerSlope, s)};
  }
};

template <class Function, class Out>
void forwardRows(const GatedActivation& p, std::int64_t begin, std::int64_t end) {
  const FloatTag d;
  const Function activation;
  const std::int64_t columns = p.gate.shape[1];
  const bool drops = p.dropout.rate > 0.0f;
  const float scale = 1.0f / (1.0f - p.dropout.rate);
  HWY_ALIGN std::uint32_t words[kRandomColumns];
  for (std::int64_t row = begin; row < end; ++row) {
    const float* gate = p.gate.as<float>() + row * p.gate.strides[0];
    const float* linear =
        p.linear.given() ? p.linear.as<float>() + row * p.linear.strides[0] : nullptr;
    Out* out = p.out.as<Out>() + row * p.out.strides[0];
    for (std::int64_t i = 0; i < columns; i += hn::Lanes(d)) {
      const std::size_t valid = lanesLeft(columns, i);
      if (drops && i % kRandomColumns == 0) {
        randomStretch(p.dropout.random, row, i, words);
      }
      FloatVector value = activation(load(gate + i, valid)).value;
      if (linear != nullptr) value = hn::Mul(value, load(linear + i, valid));
      if (drops) {
        value = keepOrDrop(value, words + i % kRandomColumns, p.dropout.threshold(), scale);
      }
      store(value, out + i, valid);
    }
  }
}

template <class Function, class Out>
void backwardRows(const GatedActivationBackward& p, std::int64_t begin, std::int64_t end) {
  const FloatTag d;
  const Function activation;
  const std::int64_t columns = p.gate.shape[1];
  const bool drops = p.dropout.rate > 0.0f;
  const bool gated = p.linear.given();
  const float scale = 1.0f / (1.0f - p.dropout.rate);
  HWY_ALIGN std::uint32_t words[kRandomColumns];
  for (std::int64_t row = begin; row < end; ++row) {
    const float* gate = p.gate.as<float>() + row * p.gate.strides[0];
    const float* gradOut = p.gradOut.as<float>() + row * p.gradOut.strides[0];
    Out* gradGate = p.gradGate.as<Out>() + row * p.gradGate.strides[0];
    const float* linear = gated ? p.linear.as<float>() + row * p.linear.strides[0] : nullptr;
    Out* gradLinear = gated ? p.gradLinear.as<Out>() + row * p.gradLinear.strides[0] : nullptr;
    for (std::int64_t i = 0; i < columns; i += hn::Lanes(d)) {
      const std::size_t valid = lanesLeft(columns, i);
      if (drops && i % kRandomColumns == 0) {
        randomStretch(p.dropout.random, row, i, words);
      }
      FloatVector grad = load(gradOut + i, valid);
      if (drops) {
        grad = keepOrDrop(grad, words + i % kRandomColumns, p.dropout.threshold(), scale);
      }
      const ActivationVec a = activation(load(gate + i, valid));
      FloatVector slope = a.slope;
      if (gated) {
        slope = hn::Mul(slope, load(linear + i, valid));
        store(hn::Mul(grad, a.value), gradLinear + i, valid);
      }
      store(hn::Mul(grad, slope), gradGate + i, valid);
    }
  }
}

template <class Function>
void forwardTo(const GatedActivation& p, std::int64_t begin, std::int64_t end) {
  if (p.out.dtype == DType::bfloat16) {
    forwardRows<Function, BFloat16>(p, begin, end);
  } else {
    forwardRows<Function, float>(p, begin, end);
  }
}

template <class Function>
void backwardTo(const GatedActivationBackward& p, std::int64_t begin, std::int64_t end) {
  if (p.gradGate.dtype == DType::bfloat16) {
    backwardRows<Function, BFloat16>(p, begin, end);
  } else {
    backwardRows<Function, float>(p, begin, end);
  }
}

void gatedActivationRows(const GatedActivation& p, std::int64_t begin, std::int64_t end) {
  switch (p.activation) {
    case Activation::relu:
      return forwardTo<Relu>(p, begin, end);
    case Activation::gelu:
      return forwardTo<Gelu>(p, begin, end);
    case Activation::geluTanh:
      return forwardTo<GeluTanh>(p, begin, end);
    case Activation::silu:
      return forwardTo<Silu>(p, begin, end);
  }
}

void gatedActivationBackwardRows(const GatedActivationBackward& p, std::int64_t begin,
                                 std::int64_t end) {
  switch (p.activation) {
    case Activation::relu:
      return backwardTo<Relu>(p, begin, end);
    case Activation::gelu:
      return backwardTo<Gelu>(p, begin, end);
    case Activation::geluTanh:
      return backwardTo<GeluTanh>(p, begin, end);
    case Activation::silu:
      return backwardTo<Silu>(p, begin, end);
  }
}

}  // namespace wgqa::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wgqa::cpu {
namespace {
HWY_EXPORT(gatedActivationRows);
HWY_EXPORT(gatedActivationBackwardRows);
}  // namespace

void gatedActivation(const GatedActivation& p) {
  parallelFor(p.gate.shape[0], rowGrain(p.gate.shape[1]),
              [&](std::int64_t begin, std::int64_t end, int) {
                HWY_DYNAMIC_DISPATCH(gatedActivationRows)(p, begin, end);
              });
}

void gatedActivationBackward(const GatedActivationBackward& p) {
  parallelFor(p.gate.shape[0], rowGrain(p.gate.shape[1]),
              [&](std::int64_t begin, std::int64_t end, int) {
                HWY_DYNAMIC_DISPATCH(gatedActivationBackwardRows)(p, begin, end);
              });
}

}  // namespace wgqa::cpu
#endif
