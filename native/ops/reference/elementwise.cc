#include <cmath>
#include <numbers>

#include "ops/reference/functions.h"
#include "ops/reference/reference_ops.h"

namespace wgqa::reference {
namespace {

struct ValueAndSlope {
  double value;
  double slope;
};

// z Phi(z) with Phi(z) = erfc(-z / sqrt(2)) / 2 (Hendrycks & Gimpel 2016, section 2).
ValueAndSlope gelu(double z) {
  const double distribution = 0.5 * std::erfc(-z / std::numbers::sqrt2);
  const double density = std::exp(-0.5 * z * z) / std::sqrt(2.0 * std::numbers::pi);
  return {z * distribution, distribution + z * density};
}

// "gelu_new": z/2 (1 + tanh(sqrt(2/pi) (z + 0.044715 z^3))) (Hendrycks & Gimpel 2016, section 2).
ValueAndSlope geluTanh(double z) {
  constexpr double kCubic = 0.044715;
  const double root = std::sqrt(2.0 / std::numbers::pi);
  const double t = std::tanh(root * (z + kCubic * z * z * z));
  const double inner = root * (1.0 + 3.0 * kCubic * z * z);
  return {0.5 * z * (1.0 + t), 0.5 * (1.0 + t) + 0.5 * z * (1.0 - t * t) * inner};
}

ValueAndSlope silu(double z) {
  const double sigmoid = 1.0 / (1.0 + std::exp(-z));
  return {z * sigmoid, sigmoid * (1.0 + z * (1.0 - sigmoid))};
}

ValueAndSlope activate(Activation activation, double z) {
  switch (activation) {
    case Activation::relu:
      return {z > 0.0 ? z : 0.0, z > 0.0 ? 1.0 : 0.0};
    case Activation::gelu:
      return gelu(z);
    case Activation::geluTanh:
      return geluTanh(z);
    case Activation::silu:
      return silu(z);
  }
  throw Error(ErrorCode::internal, "unknown activation");
}

}  // namespace

double dropoutFactor(const DropoutSpec& dropout, std::int64_t row, std::int64_t column) {
  if (dropout.rate == 0.0f) return 1.0;
  const bool kept = dropout.random.at(static_cast<std::uint32_t>(row),
                                      static_cast<std::uint32_t>(column)) >= dropout.threshold();
  return kept ? 1.0 / (1.0 - dropout.rate) : 0.0;
}

Wide dropout(const Wide& x, const Wide& residual, const DropoutSpec& spec, std::int64_t columns) {
  Wide out(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    const auto index = static_cast<std::int64_t>(i);
    out[i] = dropoutFactor(spec, index / columns, index % columns) * x[i];
    if (!residual.empty()) out[i] += residual[i];
  }
  return out;
}

Wide gatedActivation(const GatedInputs& p) {
  Wide out(p.gate.size());
  for (std::size_t i = 0; i < out.size(); ++i) {
    const auto index = static_cast<std::int64_t>(i);
    const double linear = p.linear.empty() ? 1.0 : p.linear[i];
    out[i] = dropoutFactor(p.dropout, index / p.columns, index % p.columns) *
             activate(p.activation, p.gate[i]).value * linear;
  }
  return out;
}

GatedGradients gatedActivationBackward(const GatedInputs& p, const Wide& gradOut) {
  GatedGradients result{Wide(p.gate.size()), Wide(p.linear.size())};
  for (std::size_t i = 0; i < gradOut.size(); ++i) {
    const auto index = static_cast<std::int64_t>(i);
    const double grad = dropoutFactor(p.dropout, index / p.columns, index % p.columns) * gradOut[i];
    const ValueAndSlope active = activate(p.activation, p.gate[i]);
    result.gate[i] = grad * active.slope * (p.linear.empty() ? 1.0 : p.linear[i]);
    if (!p.linear.empty()) result.linear[i] = grad * active.value;
  }
  return result;
}

void ReferenceOps::dropout(const Dropout& p) {
  store(reference::dropout(load(p.x), loadIfGiven(p.residual), p.dropout, p.x.shape[1]), p.out);
}

void ReferenceOps::gatedActivation(const GatedActivation& p) {
  store(reference::gatedActivation(
            {p.activation, load(p.gate), loadIfGiven(p.linear), p.dropout, p.gate.shape[1]}),
        p.out);
}

void ReferenceOps::gatedActivationBackward(const GatedActivationBackward& p) {
  const GatedGradients result = reference::gatedActivationBackward(
      {p.activation, load(p.gate), loadIfGiven(p.linear), p.dropout, p.gate.shape[1]},
      load(p.gradOut));
  store(result.gate, p.gradGate);
  storeIfGiven(result.linear, p.gradLinear);
}

void ReferenceOps::cast(const Cast& p) { store(load(p.x), p.out); }

}  // namespace wgqa::reference
