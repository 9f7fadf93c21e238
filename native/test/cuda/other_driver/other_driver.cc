// A library as one built from other sources would be: its interface has another version.
#include "ops/cuda/driver.h"

extern "C" __attribute__((visibility("default"))) const wgqa::cuda::Driver* wgqaCudaDriver() {
  static const wgqa::cuda::Driver driver = [] {
    wgqa::cuda::Driver other{};
    other.version = wgqa::cuda::kDriverVersion + 1;
    return other;
  }();
  return &driver;
}
