// Which heads lose least by being merged: groups of equal size by similarity, in place of
// neighbours.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "merge/head_gram.h"

namespace wgqa {

/// [heads, heads] squared distances between heads, relative to the mean squared norm of a head. If
/// `rotated`, the distance that is left after the best rotation of one to the other (the orthogonal
/// Procrustes distance).
Matrix headDistances(const HeadGram& gram, bool rotated);

/// What merging loses: the sum over groups of the mean distance within, [groups of heads given by
/// `order`, cut into `groups` parts of equal size].
double distanceWithinGroups(const Matrix& distances, std::span<const std::int32_t> order,
                            std::int64_t groups);

/// [heads] the heads in an order in which each of `groups` equal parts is a group, none of which
/// gets better by exchanging two heads: the best of several starts, neighbours among them. Heads
/// ascend within a group, and groups by their first head. The same for the same distances.
std::vector<std::int32_t> similarHeadOrder(const Matrix& distances, std::int64_t groups);

}  // namespace wgqa
