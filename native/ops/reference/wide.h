// Tensors as dense row-major vectors of double: what the reference computes on.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ops/tensor_view.h"

namespace wgqa::reference {

using Wide = std::vector<double>;

/// The element `offset` elements after the view's first.
double readElement(const ConstTensorView& view, std::int64_t offset);

/// Rounds to the view's type, to nearest even; int8 takes integers.
void writeElement(const TensorView& view, std::int64_t offset, double value);

/// Rounds numbers to integers of at most 127 by their largest magnitude; returns what these are
/// multiplied by. In float32, as quantised operations are defined: which way a tie goes decides
/// what is compared.
float quantise(std::span<double> values);

/// All elements in row-major order, whatever the strides.
Wide load(const ConstTensorView& view);

/// As load(), or an empty vector for a view that is not given.
Wide loadIfGiven(const ConstTensorView& view);

void store(const Wide& values, const TensorView& view);

/// As store(), or nothing for a view that is not given.
void storeIfGiven(const Wide& values, const TensorView& view);

/// view += values.
void accumulate(const Wide& values, const TensorView& view);

}  // namespace wgqa::reference
