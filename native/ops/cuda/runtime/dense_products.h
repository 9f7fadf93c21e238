// Dense products of one stream through cuBLASLt, each shape's algorithm chosen once.
#pragma once

#include <cuda_runtime_api.h>

#include <memory>
#include <unordered_map>

#include "ops/cuda/driver.h"
#include "ops/cuda/runtime/cublaslt.h"

namespace wgqa::cuda::runtime {

/// All that the choice of an algorithm depends on.
struct ProductKey {
  std::int64_t rows, columns, inner;
  std::int64_t aStride, bStride, outStride;
  std::uint32_t aAlignment, bAlignment, outAlignment;
  ElementType input, output;
  bool aTransposed, bTransposed;

  explicit ProductKey(const DenseProduct& product);
  bool operator==(const ProductKey&) const = default;
};

struct ProductKeyHash {
  std::size_t operator()(const ProductKey& key) const;
};

/// Used by the stream's thread alone.
class DenseProducts {
 public:
  /// Throws Failed with Failure::missingLibrary if there is no cuBLASLt. The device is current.
  explicit DenseProducts(std::int32_t device);
  ~DenseProducts();
  DenseProducts(const DenseProducts&) = delete;
  DenseProducts& operator=(const DenseProducts&) = delete;

  void run(const DenseProduct& product, cudaStream_t stream);

 private:
  struct Plan;
  const Plan& planOf(const DenseProduct& product);

  CublasLt::Handle handle_;
  void* workspace_ = nullptr;
  std::unordered_map<ProductKey, std::unique_ptr<Plan>, ProductKeyHash> plans_;
};

}  // namespace wgqa::cuda::runtime
