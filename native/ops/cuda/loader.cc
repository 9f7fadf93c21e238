#include "ops/cuda/loader.h"

#include <dlfcn.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <cstring>

#include "base/error.h"
#include "ops/cuda/device.h"

namespace wgqa::cuda {
namespace {

constexpr const char* kFile = "wgqa_cuda.so";

LoadedDriver without(const std::string& reason) {
  return {nullptr, 0, "no CUDA device, because " + reason};
}

// The folder of the binary, or shared library, that holds this function.
std::string ownFolder() {
  Dl_info info{};
  if (dladdr(reinterpret_cast<const void*>(&ownFolder), &info) == 0 || info.dli_fname == nullptr) {
    return ".";
  }
  const std::string path = info.dli_fname;
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash);
}

}  // namespace

LoadedDriver loadDriver(const std::string& folder) {
  const std::string path = folder + "/" + kFile;
  if (access(path.c_str(), R_OK) != 0) {
    return without("this build has no CUDA kernels: there is no " + path);
  }
  // It stays loaded: its device memory and streams may outlive every caller.
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return without(std::string("its library does not load: ") + dlerror());
  using Function = const Driver* (*)();
  const auto function = reinterpret_cast<Function>(dlsym(library, "wgqaCudaDriver"));
  const Driver* driver = function == nullptr ? nullptr : function();
  if (driver == nullptr || driver->version != kDriverVersion) {
    return without(path + " was built from other sources than this program; build both again");
  }
  Outcome outcome;
  const std::int32_t devices = driver->deviceCount(&outcome);
  if (devices > 0) return {driver, devices, ""};
  return without(outcome.message == nullptr ? "there is none" : outcome.message);
}

const LoadedDriver& loadedDriver() {
  static const LoadedDriver driver = [] {
    const char* folder = std::getenv("WGQA_CUDA_LIBRARY");
    return loadDriver(folder != nullptr ? folder : ownFolder());
  }();
  return driver;
}

std::int32_t capabilityLimit(const char* text) {
  if (text == nullptr || *text == '\0') return kAnyCapability;
  std::int32_t capability = 0;
  const char* const end = text + std::strlen(text);
  const auto [parsed, error] = std::from_chars(text, end, capability);
  if (error != std::errc() || parsed != end || capability < 80 || capability > kAnyCapability) {
    throw invalidArgument("WGQA_CUDA_CAPABILITY",
                          "a compute capability without its point, from 80 on, as 80 | 90", text);
  }
  return capability;
}

}  // namespace wgqa::cuda
