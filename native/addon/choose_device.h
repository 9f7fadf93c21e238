// Which backend a model gets.
#pragma once

#include <memory>
#include <string>

#include "ops/ops.h"

namespace wgqa {

/// `device`: "cpu" | "cuda" | "auto": the GPU where there is one that can run the model. Throws
/// ErrorCode::unsupported (field "device") with the reason if there is none for "cuda".
std::unique_ptr<Ops> makeOpsFor(const std::string& device, const ComputeNeeds& needs);

}  // namespace wgqa
