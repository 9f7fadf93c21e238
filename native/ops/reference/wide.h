// Tensors as dense row-major vectors of double: what the reference computes on.
#pragma once

#include <cstdint>
#include <vector>

#include "ops/tensor_view.h"

namespace wgqa::reference {

using Wide = std::vector<double>;

/// The element `offset` elements after the view's first.
double readElement(const ConstTensorView& view, std::int64_t offset);

/// Rounds to the view's type, to nearest even.
void writeElement(const TensorView& view, std::int64_t offset, double value);

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
