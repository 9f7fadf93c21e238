// How large an optimiser's update can make the parameters, without looking at each of them.
#pragma once

#include <functional>
#include <limits>

namespace wgqa {

/// The largest finite float32: beyond it, parameters and moments would become infinite.
inline constexpr double kLargestFloat = std::numeric_limits<float>::max();

/// What bounds an update of every parameter.
struct UpdateStep {
  double learningRate = 0.0;
  double weightDecay = 0.0;
  /// Of the gradient as the optimiser uses it: no element is larger.
  double gradNorm = 0.0;
};

/// Upper bounds of what the optimiser holds. They only grow from step to step, so most steps cost
/// nothing; the values themselves are read where the bounds alone would refuse a step.
class UpdateBound {
 public:
  /// Norms of all parameters and of all first moments: no element is larger.
  struct Norms {
    double parameters = 0.0;
    double moments = 0.0;
  };
  /// `largestChange(moment, parameter)`: by how much one step of learning rate 1 moves any element,
  /// where no first moment and no parameter is larger than these.
  UpdateBound(std::function<Norms()> norms,
              std::function<double(double moment, double parameter)> largestChange);

  /// Whether all values are finite after this step, which is then counted. Without it, nothing is.
  bool allows(const UpdateStep& step);
  /// After values were written from outside.
  void forget() { known_ = false; }

 private:
  bool fits(const UpdateStep& step, Norms& after) const;

  std::function<Norms()> norms_;
  std::function<double(double, double)> largestChange_;
  Norms bounds_;
  bool known_ = false;
};

}  // namespace wgqa
