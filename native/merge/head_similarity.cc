#include "merge/head_similarity.h"

#include <algorithm>
#include <numeric>

#include "base/philox.h"
#include "merge/singular_values.h"

namespace wgqa {
namespace {

constexpr std::uint32_t kRandomStarts = 64;
constexpr double kLeastGain = 1e-12;  // of an exchange: rounding is none

double innerProduct(const HeadGram& gram, std::int64_t first, std::int64_t second, bool rotated) {
  const Matrix product = gram.between(first, second);
  return rotated ? nuclearNorm(product) : product.trace();
}

// The distances from a head to all heads of group `group`.
double distanceToGroup(const Matrix& distances, std::span<const std::int32_t> order,
                       std::int64_t size, std::int64_t group, std::int32_t head) {
  double sum = 0.0;
  for (const std::int32_t other : order.subspan(group * size, size)) sum += distances(head, other);
  return sum;
}

// What the sum of distances within groups loses if the heads at two places change places.
double gainOfExchange(const Matrix& distances, std::span<const std::int32_t> order,
                      std::int64_t size, std::int64_t a, std::int64_t b) {
  const auto to = [&](std::int64_t place, std::int64_t other) {
    return distanceToGroup(distances, order, size, other / size, order[place]);
  };
  return to(a, a) + to(b, b) - to(a, b) - to(b, a) + 2.0 * distances(order[a], order[b]);
}

void exchangeWhileBetter(const Matrix& distances, std::span<std::int32_t> order,
                         std::int64_t size) {
  const std::int64_t heads = std::ssize(order);
  for (bool better = true; better;) {
    better = false;
    for (std::int64_t a = 0; a < heads; ++a) {
      for (std::int64_t b = (a / size + 1) * size; b < heads; ++b) {
        if (gainOfExchange(distances, order, size, a, b) <= kLeastGain) continue;
        std::swap(order[a], order[b]);
        better = true;
      }
    }
  }
}

std::vector<std::int32_t> shuffled(std::int64_t heads, std::uint32_t start) {
  std::vector<std::int32_t> order(static_cast<std::size_t>(heads));
  std::iota(order.begin(), order.end(), 0);
  const RandomField random;
  for (std::int64_t i = heads - 1; i > 0; --i) {
    std::swap(order[i], order[random.at(start, static_cast<std::uint32_t>(i)) % (i + 1)]);
  }
  return order;
}

void sortGroups(std::vector<std::int32_t>& order, std::int64_t size) {
  std::vector<std::vector<std::int32_t>> groups;
  for (auto at = order.begin(); at != order.end(); at += size) {
    std::sort(at, at + size);
    groups.emplace_back(at, at + size);
  }
  std::sort(groups.begin(), groups.end());
  auto to = order.begin();
  for (const auto& group : groups) to = std::copy(group.begin(), group.end(), to);
}

}  // namespace

Matrix headDistances(const HeadGram& gram, bool rotated) {
  const std::int64_t heads = gram.heads();
  double total = 0.0;
  for (std::int64_t head = 0; head < heads; ++head) total += gram.squaredNorm(head);
  const double mean = total / static_cast<double>(heads);
  Matrix distances = Matrix::Zero(heads, heads);
  if (mean == 0.0) return distances;
  for (std::int64_t i = 0; i < heads; ++i) {
    for (std::int64_t j = 0; j < i; ++j) {
      const double squared =
          gram.squaredNorm(i) + gram.squaredNorm(j) - 2.0 * innerProduct(gram, i, j, rotated);
      distances(i, j) = distances(j, i) = std::max(squared, 0.0) / mean;
    }
  }
  return distances;
}

double distanceWithinGroups(const Matrix& distances, std::span<const std::int32_t> order,
                            std::int64_t groups) {
  const std::int64_t size = std::ssize(order) / groups;
  double sum = 0.0;
  for (std::int64_t place = 0; place < std::ssize(order); ++place) {
    sum += distanceToGroup(distances, order, size, place / size, order[place]);
  }
  return sum / static_cast<double>(2 * size);
}

std::vector<std::int32_t> similarHeadOrder(const Matrix& distances, std::int64_t groups) {
  const std::int64_t heads = distances.rows();
  const std::int64_t size = heads / groups;
  std::vector<std::int32_t> best;
  double least = 0.0;
  for (std::uint32_t start = 0; start <= kRandomStarts; ++start) {
    std::vector<std::int32_t> order = shuffled(heads, start);
    if (start == 0) std::iota(order.begin(), order.end(), 0);
    exchangeWhileBetter(distances, order, size);
    const double sum = distanceWithinGroups(distances, order, groups);
    if (!best.empty() && sum >= least - kLeastGain) continue;
    best = std::move(order);
    least = sum;
  }
  sortGroups(best, size);
  return best;
}

}  // namespace wgqa
