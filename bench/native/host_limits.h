// The limits of the CPU that benchmarks are compared with, measured in the same run.
#pragma once

#include <optional>

#include "base/dtype.h"
#include "bench_support.h"

namespace wgqa::bench {

/// Reads an array larger than any cache with all threads.
Subject readBandwidth();

/// oneDNN's product of 512 x 2048 by 2048 x 512 with all threads; nothing where it has none.
std::optional<Subject> productRate(DType dtype);

}  // namespace wgqa::bench
