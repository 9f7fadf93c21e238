#include <cmath>

#include "ops/reference/functions.h"
#include "ops/reference/reference_ops.h"

namespace wgqa::reference {

Normalised rmsNorm(const Wide& x, const Wide& weight, double epsilon) {
  const std::size_t dModel = weight.size();
  const std::size_t rows = x.size() / dModel;
  Normalised result{Wide(x.size()), Wide(rows)};
  for (std::size_t row = 0; row < rows; ++row) {
    double squares = 0.0;
    for (std::size_t i = 0; i < dModel; ++i) squares += x[row * dModel + i] * x[row * dModel + i];
    const double inverse = 1.0 / std::sqrt(squares / static_cast<double>(dModel) + epsilon);
    result.inverseRms[row] = inverse;
    for (std::size_t i = 0; i < dModel; ++i) {
      result.out[row * dModel + i] = x[row * dModel + i] * inverse * weight[i];
    }
  }
  return result;
}

// With r = inverseRms, n = dModel and y = gradOut * weight:
// d/dx_i = r y_i - x_i r^3 / n * sum_j x_j y_j;  d/dweight_i = sum over rows of gradOut_i x_i r.
NormGradients rmsNormBackward(const Wide& x, const Wide& weight, const Wide& inverseRms,
                              const Wide& gradOut) {
  const std::size_t dModel = weight.size();
  NormGradients result{Wide(x.size()), Wide(dModel)};
  for (std::size_t row = 0; row < inverseRms.size(); ++row) {
    const double r = inverseRms[row];
    const double* xRow = &x[row * dModel];
    const double* gradRow = &gradOut[row * dModel];
    double dot = 0.0;
    for (std::size_t i = 0; i < dModel; ++i) dot += xRow[i] * gradRow[i] * weight[i];
    for (std::size_t i = 0; i < dModel; ++i) {
      result.x[row * dModel + i] =
          r * gradRow[i] * weight[i] - xRow[i] * r * r * r / static_cast<double>(dModel) * dot;
      result.weight[i] += gradRow[i] * xRow[i] * r;
    }
  }
  return result;
}

void ReferenceOps::rmsNorm(const RmsNorm& p) {
  const Normalised result = reference::rmsNorm(load(p.x), load(p.weight), p.epsilon);
  store(result.out, p.out);
  storeIfGiven(result.inverseRms, p.inverseRms);
}

void ReferenceOps::rmsNormBackward(const RmsNormBackward& p) {
  const NormGradients result =
      reference::rmsNormBackward(load(p.x), load(p.weight), load(p.inverseRms), load(p.gradOut));
  accumulate(result.x, p.gradX);
  accumulate(result.weight, p.gradWeight);
}

}  // namespace wgqa::reference
