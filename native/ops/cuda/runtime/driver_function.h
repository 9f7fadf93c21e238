// Functions of CUDA's driver, found without linking to its library.
#pragma once

#include <cuda_runtime_api.h>

#include <string>

#include "ops/cuda/runtime/outcome.h"

namespace wgqa::cuda::runtime {

/// Throws Failed where the driver does not have it.
template <typename Function>
void findDriverFunction(const char* name, Function& function) {
  constexpr unsigned kVersion = 12000;
  cudaDriverEntryPointQueryResult result{};
  void* found = nullptr;
  const cudaError_t error =
      cudaGetDriverEntryPointByVersion(name, &found, kVersion, cudaEnableDefault, &result);
  if (error != cudaSuccess || result != cudaDriverEntryPointSuccess) {
    throw Failed(Failure::unsupported, std::string("the driver has no ") + name);
  }
  function = reinterpret_cast<Function>(found);
}

}  // namespace wgqa::cuda::runtime
