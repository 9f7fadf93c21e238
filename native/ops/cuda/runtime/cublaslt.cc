#include "ops/cuda/runtime/cublaslt.h"

#include <dlfcn.h>

#include <cstdlib>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "ops/cuda/runtime/outcome.h"

namespace wgqa::cuda::runtime {
namespace {

constexpr const char* kMissing =
    "dense products on a GPU need cuBLASLt, which was not found: install cuBLAS of CUDA 12 or 13 "
    "(Debian and Ubuntu packages of NVIDIA: libcublas-13-0; pip: nvidia-cublas), or name the file "
    "libcublasLt.so in the environment variable WGQA_CUBLASLT";

std::vector<std::string> candidates() {
  if (const char* named = std::getenv("WGQA_CUBLASLT"); named != nullptr) return {named};
  return {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so",
          "/usr/local/cuda/lib64/libcublasLt.so"};
}

void* open() {
  std::string reasons;
  for (const std::string& file : candidates()) {
    if (void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL)) return library;
    reasons += std::string("; ") + dlerror();
  }
  throw Failed(Failure::missingLibrary, kMissing + reasons);
}

template <typename Function>
void find(void* library, const char* name, Function& function) {
  void* found = dlsym(library, name);
  if (found == nullptr) {
    throw Failed(Failure::missingLibrary, std::string("cuBLASLt has no ") + name);
  }
  function = reinterpret_cast<Function>(found);
}

CublasLt load() {
  void* library = open();
  CublasLt functions{};
  find(library, "cublasLtGetStatusString", functions.statusText);
  find(library, "cublasLtCreate", functions.create);
  find(library, "cublasLtMatmulDescCreate", functions.descriptionCreate);
  find(library, "cublasLtMatmulDescDestroy", functions.descriptionDestroy);
  find(library, "cublasLtMatmulDescSetAttribute", functions.descriptionSet);
  find(library, "cublasLtMatrixLayoutCreate", functions.layoutCreate);
  find(library, "cublasLtMatrixLayoutDestroy", functions.layoutDestroy);
  find(library, "cublasLtMatmulPreferenceCreate", functions.preferenceCreate);
  find(library, "cublasLtMatmulPreferenceDestroy", functions.preferenceDestroy);
  find(library, "cublasLtMatmulPreferenceSetAttribute", functions.preferenceSet);
  find(library, "cublasLtMatmulAlgoGetHeuristic", functions.heuristic);
  find(library, "cublasLtMatmul", functions.multiply);
  return functions;
}

}  // namespace

const CublasLt& cublasLt() {
  static const CublasLt functions = load();
  return functions;
}

void requireCublasLt(CublasLt::Status status, const std::string& what) {
  if (status == 0) return;
  const Failure failure =
      status == CublasLt::kAllocationFailed ? Failure::outOfMemory : Failure::device;
  throw Failed(failure, "cuBLASLt: " + what + ": " + cublasLt().statusText(status));
}

CublasLt::Handle cublasLtHandle(std::int32_t device) {
  static std::mutex mutex;
  static auto& handles = *new std::map<std::int32_t, CublasLt::Handle>;
  const CublasLt& lt = cublasLt();
  const std::lock_guard lock(mutex);
  if (const auto found = handles.find(device); found != handles.end()) return found->second;
  CublasLt::Handle handle = nullptr;
  requireCublasLt(lt.create(&handle), "starting on device " + std::to_string(device));
  return handles[device] = handle;
}

}  // namespace wgqa::cuda::runtime
