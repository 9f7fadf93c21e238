// Dense products: cuBLASLt through the driver, over weights that lie as they were given, in the
// type of the products.
#include "ops/cuda/operations.h"

namespace wgqa::cuda {
namespace {

ElementType elementType(DType dtype) {
  switch (dtype) {
    case DType::float32:
      return ElementType::float32;
    case DType::float16:
      return ElementType::float16;
    case DType::bfloat16:
      return ElementType::bfloat16;
    case DType::int8:
      return ElementType::int8;
    case DType::int32:
      return ElementType::int32;
  }
  return ElementType::float32;
}

class DeviceWeight final : public PackedWeight {
 public:
  DeviceWeight(const ConstTensorView& weight, DType type, Session& session)
      : memory_(session.device(), static_cast<std::size_t>(weight.elements()) * bytesOf(type)) {
    outFeatures = weight.shape[0];
    inFeatures = weight.shape[1];
    dtype = type;
    bytes = static_cast<std::int64_t>(memory_.bytes());
    cast({weight, TensorView(memory_.as<void>(), type, {outFeatures, inFeatures})}, session);
  }

  const void* data() const { return memory_.as<void>(); }

 private:
  Buffer memory_;
};

// An operand of a product: its rows, or the columns of its rows if it was transposed.
struct Operand {
  const void* data;
  std::int64_t stride;
  bool transposed;
};

Operand operandOf(const ConstTensorView& view) {
  const bool rowsAreDense = view.strides[1] == 1;
  return {view.data, rowsAreDense ? view.strides[0] : view.strides[1], !rowsAreDense};
}

}  // namespace

std::unique_ptr<PackedWeight> pack(const ConstTensorView& weight, DType dtype, Session& session) {
  return std::make_unique<DeviceWeight>(weight, dtype, session);
}

void linear(const Linear& p, Session& session) {
  const auto& weight = static_cast<const DeviceWeight&>(*p.weight);
  session.stream().multiply({.rows = p.x.shape[0],
                             .columns = weight.outFeatures,
                             .inner = weight.inFeatures,
                             .a = p.x.data,
                             .aStride = p.x.strides[0],
                             .aTransposed = false,
                             .b = weight.data(),
                             .bStride = weight.inFeatures,
                             .bTransposed = true,
                             .out = p.out.data,
                             .outStride = p.out.strides[0],
                             .input = elementType(weight.dtype),
                             .output = elementType(p.out.dtype),
                             .alpha = p.alpha,
                             .beta = p.beta});
}

void matmul(const Matmul& p, Session& session) {
  const Operand a = operandOf(p.a);
  const Operand b = operandOf(p.b);
  session.stream().multiply({.rows = p.c.shape[0],
                             .columns = p.c.shape[1],
                             .inner = p.a.shape[1],
                             .a = a.data,
                             .aStride = a.stride,
                             .aTransposed = a.transposed,
                             .b = b.data,
                             .bStride = b.stride,
                             .bTransposed = b.transposed,
                             .out = p.c.data,
                             .outStride = p.c.strides[0],
                             .input = elementType(p.a.dtype),
                             .output = elementType(p.c.dtype),
                             .alpha = p.alpha,
                             .beta = p.beta});
}

}  // namespace wgqa::cuda
