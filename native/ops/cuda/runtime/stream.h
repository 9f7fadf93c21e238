// Streams: copies, launches and recordings.
#pragma once

#include <cuda_runtime_api.h>

#include <memory>
#include <shared_mutex>

#include "ops/cuda/driver.h"

namespace wgqa::cuda::runtime {

class DenseProducts;

struct StreamState {
  std::int32_t device = 0;
  cudaStream_t stream = nullptr;
  std::unique_ptr<DenseProducts> products;        // made on first use
  std::shared_lock<std::shared_mutex> recording;  // of the recording gate, while it records
  StreamState();
  ~StreamState();
  StreamState(const StreamState&) = delete;
  StreamState& operator=(const StreamState&) = delete;
};

/// Fills in the driver's functions for streams and kernels.
void addStreamFunctions(Driver& driver);

}  // namespace wgqa::cuda::runtime
