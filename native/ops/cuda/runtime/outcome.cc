#include "ops/cuda/runtime/outcome.h"

#include <cstdio>

namespace wgqa::cuda::runtime {
namespace {

[[noreturn]] void raise(cudaError_t error, const std::string& what) {
  cudaGetLastError();  // errors that do not stay are not to be met again by the next call
  const Failure failure =
      error == cudaErrorMemoryAllocation ? Failure::outOfMemory : Failure::device;
  throw Failed(failure, what + ": " + cudaGetErrorString(error));
}

}  // namespace

// No string: the message may be that there is no memory.
Outcome failed(Failure failure, const char* message) noexcept {
  thread_local char last[2048];
  std::snprintf(last, sizeof(last), "%s", message);
  return {failure, last};
}

void check(cudaError_t error, const char* what, const char* name) {
  if (error != cudaSuccess) raise(error, std::string(what) + name);
}

void checkMemory(cudaError_t error, const char* what, std::size_t bytes) {
  if (error != cudaSuccess) raise(error, describeMemory(what, bytes));
}

std::string describeMemory(const char* what, std::size_t bytes) {
  const std::string text = std::string(what) + " " + std::to_string(bytes) + " bytes";
  std::size_t free = 0;
  std::size_t total = 0;
  if (cudaMemGetInfo(&free, &total) != cudaSuccess) return text;
  return text + " with " + std::to_string(free) + " of " + std::to_string(total) + " free";
}

}  // namespace wgqa::cuda::runtime
