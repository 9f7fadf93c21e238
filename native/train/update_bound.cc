#include "train/update_bound.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace wgqa {

UpdateBound::UpdateBound(std::function<Norms()> norms,
                         std::function<double(double, double)> largestChange)
    : norms_(std::move(norms)), largestChange_(std::move(largestChange)) {}

bool UpdateBound::allows(const UpdateStep& step) {
  Norms after;
  if (known_ && fits(step, after)) {
    bounds_ = after;
    return true;
  }
  bounds_ = norms_();
  known_ = true;
  if (!fits(step, after)) return false;
  bounds_ = after;
  return true;
}

bool UpdateBound::fits(const UpdateStep& step, Norms& after) const {
  // Squares of the gradient are what second moments average.
  if (!(step.gradNorm * step.gradNorm < kLargestFloat)) return false;
  after.moments = std::max(bounds_.moments, step.gradNorm);
  const double kept = std::max(1.0, std::abs(1.0 - step.learningRate * step.weightDecay));
  const double change = step.learningRate * largestChange_(after.moments, bounds_.parameters);
  after.parameters = kept * bounds_.parameters + change;
  return after.parameters < kLargestFloat;  // false for NaN
}

}  // namespace wgqa
