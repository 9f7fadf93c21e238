// Non-owning views of dense tensors: what every operation takes and gives.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <type_traits>
#include <utility>

#include "base/dtype.h"
#include "base/error.h"

namespace wgqa {

inline constexpr int kMaxRank = 4;

/// Pointer, element type, shape and strides (in elements). Row-major: the last dimension is dense
/// unless an operation says that it takes strides. A view with a null pointer means "not given".
template <typename Pointer>
struct BasicTensorView {
  Pointer data = nullptr;
  DType dtype = DType::float32;
  int rank = 0;
  std::array<std::int64_t, kMaxRank> shape{};
  std::array<std::int64_t, kMaxRank> strides{};

  BasicTensorView() = default;

  /// A dense row-major view.
  BasicTensorView(Pointer pointer, DType type, std::initializer_list<std::int64_t> dimensions)
      : data(pointer), dtype(type), rank(static_cast<int>(dimensions.size())) {
    require(rank <= kMaxRank, "tensor view of too many dimensions");
    int index = 0;
    for (const std::int64_t size : dimensions) shape[index++] = size;
    std::int64_t stride = 1;
    for (int i = rank - 1; i >= 0; --i) {
      strides[i] = stride;
      stride *= shape[i];
    }
  }

  /// A mutable view is accepted wherever a read-only one is.
  template <typename Other>
    requires(!std::is_same_v<Other, Pointer>)
  BasicTensorView(const BasicTensorView<Other>& other)
      : data(other.data),
        dtype(other.dtype),
        rank(other.rank),
        shape(other.shape),
        strides(other.strides) {}

  bool given() const { return data != nullptr; }
  std::int64_t elements() const {
    std::int64_t count = 1;
    for (int i = 0; i < rank; ++i) count *= shape[i];
    return count;
  }
  std::int64_t bytes() const { return elements() * static_cast<std::int64_t>(bytesOf(dtype)); }

  /// Swaps the last two dimensions: no data moves.
  BasicTensorView transposed() const {
    require(rank >= 2, "what is transposed has two dimensions or more");
    BasicTensorView result = *this;
    std::swap(result.shape[rank - 2], result.shape[rank - 1]);
    std::swap(result.strides[rank - 2], result.strides[rank - 1]);
    return result;
  }

  /// Rows [begin, begin + count) of the first dimension.
  BasicTensorView rows(std::int64_t begin, std::int64_t count) const {
    require(rank >= 1 && begin >= 0 && begin + count <= shape[0], "rows out of range");
    BasicTensorView result = *this;
    using Byte = std::conditional_t<std::is_const_v<std::remove_pointer_t<Pointer>>,
                                    const std::byte, std::byte>;
    result.data =
        static_cast<Byte*>(data) + begin * strides[0] * static_cast<std::int64_t>(bytesOf(dtype));
    result.shape[0] = count;
    return result;
  }

  template <typename T>
  auto as() const {
    using Element = std::conditional_t<std::is_const_v<std::remove_pointer_t<Pointer>>, const T, T>;
    return static_cast<Element*>(data);
  }
};

using TensorView = BasicTensorView<void*>;
using ConstTensorView = BasicTensorView<const void*>;

/// [rows, heads * headDim] seen as [rows, heads, headDim].
template <typename Pointer>
BasicTensorView<Pointer> columnsAsHeads(const BasicTensorView<Pointer>& matrix,
                                        std::int64_t heads) {
  return {matrix.data, matrix.dtype, {matrix.shape[0], heads, matrix.shape[1] / heads}};
}

/// [heads * headDim, columns] seen as [heads, headDim, columns].
template <typename Pointer>
BasicTensorView<Pointer> rowsAsHeads(const BasicTensorView<Pointer>& matrix, std::int64_t heads) {
  return {matrix.data, matrix.dtype, {heads, matrix.shape[0] / heads, matrix.shape[1]}};
}

}  // namespace wgqa
