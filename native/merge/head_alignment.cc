#include "merge/head_alignment.h"

#include <algorithm>

#include "merge/head_groups.h"
#include "merge/matrix_products.h"
#include "merge/singular_values.h"

namespace wgqa {
namespace {

constexpr int kMostSweeps = 100;
constexpr double kLeastGain = 1e-6;  // of a sweep, to what there is

// Rotates the heads [begin, end) one after another towards the sum of the others.
class GroupAlignment {
 public:
  GroupAlignment(const HeadGram& gram, std::int64_t begin, std::int64_t end,
                 std::vector<Matrix>& rotations)
      : gram_(gram), begin_(begin), end_(end), rotations_(rotations) {}

  void run() {
    // Each joins those before it; then all are improved in turn.
    for (std::int64_t head = begin_ + 1; head < end_; ++head) turn(head, head);
    double before = agreement();
    for (int sweep = 0; sweep < kMostSweeps; ++sweep) {
      for (std::int64_t head = begin_ + 1; head < end_; ++head) turn(head, end_);
      const double now = agreement();
      if (now - before <= kLeastGain * std::max(now, 0.0)) return;
      before = now;
    }
  }

 private:
  // [headDim, headDim]: the rotated others below `end` times `head`, unrotated.
  Matrix othersTimes(std::int64_t head, std::int64_t end) const {
    Matrix sum = Matrix::Zero(gram_.headDim(), gram_.headDim());
    for (std::int64_t other = begin_; other < end; ++other) {
      if (other != head) sum += product(rotations_[other], gram_.between(other, head));
    }
    return sum;
  }
  void turn(std::int64_t head, std::int64_t end) {
    rotations_[head] = nearestOrthogonal(othersTimes(head, end));
  }
  // Twice the sum over pairs of their inner products.
  double agreement() const {
    double sum = 0.0;
    for (std::int64_t head = begin_; head < end_; ++head) {
      sum += rotations_[head].cwiseProduct(othersTimes(head, end_)).sum();
    }
    return sum;
  }

  const HeadGram& gram_;
  std::int64_t begin_;
  std::int64_t end_;
  std::vector<Matrix>& rotations_;
};

}  // namespace

std::vector<Matrix> alignHeads(const HeadGram& gram, std::span<const std::int32_t> kvHeadOf) {
  std::vector<Matrix> rotations(kvHeadOf.size(), Matrix::Identity(gram.headDim(), gram.headDim()));
  for (const auto [begin, end] : headRanges(kvHeadOf)) {
    GroupAlignment(gram, begin, end, rotations).run();
  }
  return rotations;
}

}  // namespace wgqa
