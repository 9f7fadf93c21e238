#include <cmath>

#include "ops/cpu/chunks.h"
#include "ops/cpu/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/adamw.cc"
#include "hwy/foreach_target.h"

#include "ops/cpu/simd_inl.h"

HWY_BEFORE_NAMESPACE();
namespace wgqa::cpu::HWY_NAMESPACE {

void adamWStretch(const AdamW& step, const AdamW::Parameter& p, std::int64_t begin,
                  std::int64_t end) {
  const FloatTag d;
  const double correction1 = 1.0 - std::pow(double{step.beta1}, static_cast<double>(step.step));
  const double correction2 = 1.0 - std::pow(double{step.beta2}, static_cast<double>(step.step));
  const FloatVector gradScale = hn::Set(d, step.gradScale);
  const FloatVector new1 = hn::Set(d, static_cast<float>(1.0 - double{step.beta1}));
  const FloatVector new2 = hn::Set(d, static_cast<float>(1.0 - double{step.beta2}));
  const FloatVector old2 = hn::Set(d, step.beta2);
  const FloatVector decay =
      hn::Set(d, static_cast<float>(1.0 - double{step.learningRate} * p.weightDecay));
  const FloatVector rate = hn::Set(d, static_cast<float>(step.learningRate / correction1));
  const FloatVector rootScale = hn::Set(d, static_cast<float>(1.0 / std::sqrt(correction2)));
  const FloatVector epsilon = hn::Set(d, step.epsilon);
  float* HWY_RESTRICT value = p.value.as<float>();
  float* HWY_RESTRICT firstMoment = p.firstMoment.as<float>();
  float* HWY_RESTRICT secondMoment = p.secondMoment.as<float>();
  const float* HWY_RESTRICT gradient = p.grad.as<float>();
  for (std::int64_t i = begin; i < end; i += hn::Lanes(d)) {
    const std::size_t valid = lanesLeft(end, i);
    const FloatVector grad = hn::Mul(load(gradient + i, valid), gradScale);
    const FloatVector oldFirst = load(firstMoment + i, valid);
    const FloatVector first = hn::MulAdd(hn::Sub(grad, oldFirst), new1, oldFirst);
    const FloatVector oldSecond = hn::Mul(load(secondMoment + i, valid), old2);
    const FloatVector second = hn::MulAdd(hn::Mul(grad, grad), new2, oldSecond);
    const FloatVector root = hn::MulAdd(hn::Sqrt(second), rootScale, epsilon);
    const FloatVector update = hn::Div(hn::Mul(first, rate), root);
    store(first, firstMoment + i, valid);
    store(second, secondMoment + i, valid);
    store(hn::MulSub(load(value + i, valid), decay, update), value + i, valid);
  }
}

}  // namespace wgqa::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wgqa::cpu {
namespace {
HWY_EXPORT(adamWStretch);
}

void adamW(const AdamW& p) {
  forEachChunk(
      static_cast<std::int64_t>(p.parameters.size()),
      [&](std::int64_t i) { return p.parameters[i].value.elements(); },
      [&](std::int64_t i, std::int64_t begin, std::int64_t end, std::int64_t) {
        HWY_DYNAMIC_DISPATCH(adamWStretch)(p, p.parameters[i], begin, end);
      });
}

}  // namespace wgqa::cpu
#endif
