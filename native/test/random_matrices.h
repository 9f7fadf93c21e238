// Random matrices for the tests of what is done to heads.
#pragma once

#include <cstdint>

#include "merge/head_gram.h"

namespace wgqa::test {

/// Standard normal draws.
Matrix randomMatrix(std::int64_t rows, std::int64_t columns, std::uint64_t seed);

/// [size, size], orthogonal.
Matrix randomRotation(std::int64_t size, std::uint64_t seed);

}  // namespace wgqa::test
