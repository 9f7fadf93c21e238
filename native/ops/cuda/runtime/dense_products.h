// Dense products of one stream through cuBLASLt, each shape's algorithm chosen once.
#pragma once

#include <cuda_runtime_api.h>

#include <memory>
#include <string>
#include <unordered_map>

#include "ops/cuda/driver.h"

namespace wgqa::cuda::runtime {

/// Used by the stream's thread alone.
class DenseProducts {
 public:
  explicit DenseProducts(std::int32_t device);
  ~DenseProducts();
  DenseProducts(const DenseProducts&) = delete;
  DenseProducts& operator=(const DenseProducts&) = delete;

  void run(const DenseProduct& product, cudaStream_t stream);

 private:
  struct Plan;
  const Plan& planOf(const DenseProduct& product);

  std::int32_t device_;
  void* workspace_ = nullptr;
  std::unordered_map<std::string, std::unique_ptr<Plan>> plans_;
};

}  // namespace wgqa::cuda::runtime
