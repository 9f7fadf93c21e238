// From what CUDA returns to what the driver's functions return.
#pragma once

#include <cuda_runtime_api.h>

#include <exception>
#include <string>

#include "ops/cuda/driver.h"

namespace wgqa::cuda::runtime {

/// An Outcome whose message, cut if it is very long, lives until the thread's next failure.
Outcome failed(Failure failure, const char* message) noexcept;

/// Throwing one is how a driver function ends early; none leaves the library.
class Failed : public std::exception {
 public:
  Failed(Failure failure, std::string message) : failure_(failure), message_(std::move(message)) {}
  Failure failure() const { return failure_; }
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  Failure failure_;
  std::string message_;
};

/// Throws Failed unless the call succeeded; `what` says what was asked for, and `name` of what.
void check(cudaError_t error, const char* what, const char* name = "");
/// The same of what takes memory: how much, and what the device has left, is told too.
void checkMemory(cudaError_t error, const char* what, std::size_t bytes);

/// "`what` N bytes", and what is free of the current device's memory.
std::string describeMemory(const char* what, std::size_t bytes);

/// The outcome of `work`, whatever it throws.
template <typename Work>
Outcome outcomeOf(const Work& work) noexcept {
  try {
    work();
    return {};
  } catch (const Failed& error) {
    return failed(error.failure(), error.what());
  } catch (const std::exception& error) {
    return failed(Failure::device, error.what());
  }
}

}  // namespace wgqa::cuda::runtime
