// The CUDA backend as the rest of the program sees it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "ops/ops.h"

namespace wgqa {

namespace cuda {
class Device;
}

/// Nothing if there is a usable GPU, else the reason, for people.
std::optional<std::string> whyNoCuda();

/// A GPU by its number, below the count of usable ones; the same object every time. Throws
/// ErrorCode::unsupported if there is none.
cuda::Device& cudaDevice(std::int32_t index);

/// Kernels of our own, and cuBLASLt for dense products. Throws ErrorCode::unsupported (field
/// "device") if there is no such device.
std::unique_ptr<Ops> makeCudaOps(std::int32_t device = 0);

}  // namespace wgqa
