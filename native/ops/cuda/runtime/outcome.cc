#include "ops/cuda/runtime/outcome.h"

namespace wgqa::cuda::runtime {

Outcome failed(Failure failure, std::string message) {
  thread_local std::string last;
  last = std::move(message);
  return {failure, last.c_str()};
}

void check(cudaError_t error, const std::string& what) {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // errors that do not stay are not to be met again by the next call
  const Failure failure =
      error == cudaErrorMemoryAllocation ? Failure::outOfMemory : Failure::device;
  throw Failed(failure, what + ": " + cudaGetErrorString(error));
}

}  // namespace wgqa::cuda::runtime
