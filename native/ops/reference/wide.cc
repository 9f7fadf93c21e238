#include "ops/reference/wide.h"

#include <algorithm>
#include <cmath>

namespace wgqa::reference {
namespace {

bool isDense(const ConstTensorView& view) {
  std::int64_t stride = 1;
  for (int i = view.rank - 1; i >= 0; --i) {
    if (view.strides[i] != stride) return false;
    stride *= view.shape[i];
  }
  return true;
}

std::int64_t offsetOf(const ConstTensorView& view, std::int64_t index) {
  std::int64_t offset = 0;
  for (int i = view.rank - 1; i >= 0; --i) {
    offset += index % view.shape[i] * view.strides[i];
    index /= view.shape[i];
  }
  return offset;
}

// Calls visit(index in row-major order, offset in elements) for each element.
template <typename Visit>
void forEachOffset(const ConstTensorView& view, const Visit& visit) {
  const bool dense = isDense(view);
  const std::int64_t count = view.elements();
  for (std::int64_t index = 0; index < count; ++index) {
    visit(index, dense ? index : offsetOf(view, index));
  }
}

}  // namespace

double readElement(const ConstTensorView& view, std::int64_t offset) {
  switch (view.dtype) {
    case DType::float32:
      return view.as<float>()[offset];
    case DType::float16:
      return toFloat(view.as<Float16>()[offset]);
    case DType::bfloat16:
      return toFloat(view.as<BFloat16>()[offset]);
    case DType::int32:
      return view.as<std::int32_t>()[offset];
    case DType::int8:
      return view.as<std::int8_t>()[offset];
  }
  throw Error(ErrorCode::internal, "tensor of an unknown element type");
}

void writeElement(const TensorView& view, std::int64_t offset, double value) {
  const auto rounded = static_cast<float>(value);
  switch (view.dtype) {
    case DType::float32:
      view.as<float>()[offset] = rounded;
      return;
    case DType::float16:
      view.as<Float16>()[offset] = toFloat16(rounded);
      return;
    case DType::bfloat16:
      view.as<BFloat16>()[offset] = toBFloat16(rounded);
      return;
    case DType::int8:
      view.as<std::int8_t>()[offset] = static_cast<std::int8_t>(value);
      return;
    case DType::int32:
      break;
  }
  throw Error(ErrorCode::internal, "no operation writes this element type");
}

float quantise(std::span<double> values) {
  float largest = 0.0f;
  for (const double value : values) {
    largest = std::max(largest, std::abs(static_cast<float>(value)));
  }
  const float factor = largest > 0.0f ? 127.0f / largest : 0.0f;
  for (double& value : values) value = std::nearbyint(static_cast<float>(value) * factor);
  return largest / 127.0f;
}

Wide load(const ConstTensorView& view) {
  Wide values(view.elements());
  forEachOffset(view, [&](std::int64_t index, std::int64_t offset) {
    values[index] = readElement(view, offset);
  });
  return values;
}

Wide loadIfGiven(const ConstTensorView& view) { return view.given() ? load(view) : Wide(); }

void store(const Wide& values, const TensorView& view) {
  require(static_cast<std::int64_t>(values.size()) == view.elements(), "result of another size");
  forEachOffset(view, [&](std::int64_t index, std::int64_t offset) {
    writeElement(view, offset, values[index]);
  });
}

void storeIfGiven(const Wide& values, const TensorView& view) {
  if (view.given()) store(values, view);
}

void accumulate(const Wide& values, const TensorView& view) {
  require(static_cast<std::int64_t>(values.size()) == view.elements(), "sum of another size");
  forEachOffset(view, [&](std::int64_t index, std::int64_t offset) {
    writeElement(view, offset, readElement(view, offset) + values[index]);
  });
}

}  // namespace wgqa::reference
