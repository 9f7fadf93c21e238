// How host code names a kernel, and how a kernel's file offers it to a driver.
#pragma once

#include <cstdint>

namespace wgqa::cuda {

/// A kernel of one arguments struct; the same constant is used where it is launched and where it is
/// defined, so that the types must agree.
template <typename Arguments>
struct Kernel {
  const char* name;
};

/// What a driver knows of a kernel.
struct KernelEntry {
  const char* name;
  const void* function;                 // what CUDA launches
  void (*call)(const void* arguments);  // one thread's run, for the emulation
  std::int32_t argumentBytes;
};

#ifdef __CUDACC__
template <auto kFunction, typename Arguments>
KernelEntry kernelEntry(Kernel<Arguments> kernel) {
  void (*function)(Arguments) = kFunction;
  return {kernel.name, reinterpret_cast<const void*>(function), nullptr, sizeof(Arguments)};
}
#else
template <auto kFunction, typename Arguments>
KernelEntry kernelEntry(Kernel<Arguments> kernel) {
  return {kernel.name, nullptr,
          [](const void* arguments) { kFunction(*static_cast<const Arguments*>(arguments)); },
          sizeof(Arguments)};
}
#endif

}  // namespace wgqa::cuda
