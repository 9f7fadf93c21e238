// Loading the library of the kernels: whatever is wrong is told apart, and nothing of it is fatal.
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <string>

#include "ops/cuda/backend.h"
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

}  // namespace
}  // namespace wgqa::cuda
