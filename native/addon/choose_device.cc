#include "addon/choose_device.h"

#include "ops/cuda/backend.h"

namespace wgqa {

std::unique_ptr<Ops> makeOpsFor(const std::string& device, const ComputeNeeds& needs) {
  if (device == "cpu") return makeCpuOps();
  const std::optional<std::string> reason = whyNoCuda();
  if (device == "cuda") {
    if (reason) throw Error(ErrorCode::unsupported, *reason, "device", "'auto' | 'cpu'");
    return makeCudaOps();
  }
  if (reason) return makeCpuOps();
  auto ops = makeCudaOps();
  if (ops->whyUnsupported(needs)) return makeCpuOps();
  return ops;
}

}  // namespace wgqa
