#include "ops/cuda/runtime/tensor_map.h"

#include <cuda.h>
#include <cudaTypedefs.h>

#include "ops/cuda/runtime/driver_function.h"

namespace wgqa::cuda::runtime {
namespace {

static_assert(sizeof(TensorMap) == sizeof(CUtensorMap) &&
              alignof(TensorMap) == alignof(CUtensorMap));

PFN_cuTensorMapEncodeTiled_v12000 encoder() {
  static const auto function = [] {
    PFN_cuTensorMapEncodeTiled_v12000 found = nullptr;
    findDriverFunction("cuTensorMapEncodeTiled", found);
    return found;
  }();
  return function;
}

// Dimensions are given from the one whose elements are neighbours. A box may be larger than its
// tensor.
Outcome mapTensor(std::int32_t /*device*/, const TensorBoxes* boxes, TensorMap* map) {
  return outcomeOf([&] {
    const auto columns = static_cast<cuuint64_t>(boxes->columns);
    const auto heads = static_cast<cuuint64_t>(boxes->heads);
    const cuuint64_t sizes[] = {columns, heads, static_cast<cuuint64_t>(boxes->tokens)};
    const cuuint64_t strides[] = {2 * columns, 2 * columns * heads};  // bytes; the first is known
    const cuuint32_t box[] = {kTensorBoxColumns, 1, static_cast<cuuint32_t>(boxes->boxTokens)};
    const cuuint32_t steps[] = {1, 1, 1};
    const CUresult result =
        encoder()(reinterpret_cast<CUtensorMap*>(map), CU_TENSOR_MAP_DATA_TYPE_UINT16, 3,
                  const_cast<void*>(boxes->data), sizes, strides, box, steps,
                  CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                  CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    if (result == CUDA_SUCCESS) return;
    throw Failed(Failure::device, "mapping a tensor of " + std::to_string(boxes->tokens) + " x " +
                                      std::to_string(boxes->heads) + " x " +
                                      std::to_string(boxes->columns) + " failed with code " +
                                      std::to_string(result));
  });
}

}  // namespace

void addTensorMapFunction(Driver& driver) { driver.mapTensor = mapTensor; }

}  // namespace wgqa::cuda::runtime
