// Loading the library of the kernels: whatever is wrong is told apart, and nothing of it is fatal.
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <string>

#include "ops/cuda/backend.h"
#include "ops/cuda/device.h"
#include "ops/cuda/emulation/emulated_driver.h"
#include "ops/cuda/loader.h"
#include "test/harness.h"

namespace wgqa::cuda {
namespace {

using namespace wgqa::test;

bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

void checkFails(const std::string& folder, const std::string& part) {
  const LoadedDriver loaded = loadDriver(folder);
  CHECK(loaded.driver == nullptr);
  CHECK_EQUAL(loaded.devices, 0);
  if (!holds(loaded.reason, part)) fail("'" + loaded.reason + "' does not tell '" + part + "'");
}

WGQA_TEST(cudaLoaderTellsAMissingLibrary) { checkFails("/nowhere", "there is no /nowhere/"); }

WGQA_TEST(cudaLoaderTellsAFileThatIsNoLibrary) {
  char folder[] = "/tmp/wgqa-loader-XXXXXX";
  CHECK(mkdtemp(folder) != nullptr);
  const std::string file = std::string(folder) + "/wgqa_cuda.so";
  std::ofstream(file) << "not a library";
  checkFails(folder, "does not load");
  unlink(file.c_str());
  rmdir(folder);
}

WGQA_TEST(cudaLoaderTellsALibraryOfOtherSources) {
  checkFails(WGQA_OTHER_DRIVER_FOLDER, "was built from other sources");
}

// With the library that was built beside this program, if one was: a device, or CUDA's own reason.
WGQA_TEST(cudaLoaderFindsADeviceOrSaysWhyNot) {
  const LoadedDriver& loaded = loadedDriver();
  CHECK_EQUAL(loaded.devices > 0, loaded.driver != nullptr);
  CHECK_EQUAL(loaded.devices > 0, loaded.reason.empty());
  CHECK_EQUAL(whyNoCuda().has_value(), loaded.devices == 0);
  if (loaded.devices > 0) return note("devices: " + std::to_string(loaded.devices));
  note(loaded.reason);
  CHECK(loaded.reason.starts_with("no CUDA device, because "));
  CHECK_THROWS(ErrorCode::unsupported, makeCudaOps());
}

WGQA_TEST(cudaKernelsCanBeThoseOfAnOlderGeneration) {
  CHECK_EQUAL(capabilityLimit(nullptr), kAnyCapability);
  CHECK_EQUAL(capabilityLimit(""), kAnyCapability);
  CHECK_EQUAL(capabilityLimit("80"), 80);
  for (const char* text : {"8.0", "79", "sm_80", "80 ", "99999999999"}) {
    CHECK_THROWS(ErrorCode::invalidArgument, capabilityLimit(text));
  }
  CHECK_EQUAL(Device(emulatedDriver(), 1).properties().computeCapability, 90);
  CHECK_EQUAL(Device(emulatedDriver(), 1, 80).properties().computeCapability, 80);
  CHECK_EQUAL(Device(emulatedDriver(), 0, 90).properties().computeCapability, 80);
}

}  // namespace
}  // namespace wgqa::cuda
