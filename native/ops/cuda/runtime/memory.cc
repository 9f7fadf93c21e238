#include "ops/cuda/runtime/memory.h"

#include <cuda.h>
#include <cudaTypedefs.h>

#include <mutex>

#include "ops/cuda/runtime/driver_function.h"
#include "ops/cuda/runtime/outcome.h"
#include "ops/cuda/runtime/recording_gate.h"

namespace wgqa::cuda::runtime {
namespace {

Outcome allocate(std::int32_t device, std::size_t bytes, void** data) {
  return outcomeOf([&] {
    check(cudaSetDevice(device), "choosing the device");
    checkMemory(cudaMalloc(data, bytes), "allocating", bytes);
  });
}

// cudaFree waits for what is under way on the device.
Outcome release(std::int32_t device, void* data) {
  return outcomeOf([&] {
    check(cudaSetDevice(device), "choosing the device");
    check(cudaFree(data), "freeing memory");
  });
}

Outcome freeBytes(std::int32_t device, std::size_t* bytes) {
  return outcomeOf([&] {
    check(cudaSetDevice(device), "choosing the device");
    std::size_t total = 0;
    check(cudaMemGetInfo(bytes, &total), "asking for free memory");
  });
}

Outcome allocatePinned(std::size_t bytes, void** data) {
  return outcomeOf([&] { checkMemory(cudaMallocHost(data, bytes), "pinning", bytes); });
}

Outcome releasePinned(void* data) {
  return outcomeOf([&] { check(cudaFreeHost(data), "freeing pinned memory"); });
}

// ---------------------------------------------------------------------------- reservations

// The driver's virtual memory functions (CUDA Driver API, "Virtual Memory Management"), found at
// run time: the library is not linked with libcuda.
struct VirtualMemory {
  PFN_cuMemAddressReserve_v10020 reserve = nullptr;
  PFN_cuMemAddressFree_v10020 freeAddress = nullptr;
  PFN_cuMemCreate_v10020 create = nullptr;
  PFN_cuMemRelease_v10020 release = nullptr;
  PFN_cuMemMap_v10020 map = nullptr;
  PFN_cuMemUnmap_v10020 unmap = nullptr;
  PFN_cuMemSetAccess_v10020 setAccess = nullptr;
  PFN_cuMemGetAllocationGranularity_v10020 granularity = nullptr;
  PFN_cuGetErrorString_v6000 errorString = nullptr;

  VirtualMemory() {
    findDriverFunction("cuMemAddressReserve", reserve);
    findDriverFunction("cuMemAddressFree", freeAddress);
    findDriverFunction("cuMemCreate", create);
    findDriverFunction("cuMemRelease", release);
    findDriverFunction("cuMemMap", map);
    findDriverFunction("cuMemUnmap", unmap);
    findDriverFunction("cuMemSetAccess", setAccess);
    findDriverFunction("cuMemGetAllocationGranularity", granularity);
    findDriverFunction("cuGetErrorString", errorString);
  }

  void require(CUresult result, const char* what, std::size_t bytes) const {
    if (result == CUDA_SUCCESS) return;
    const char* text = nullptr;
    errorString(result, &text);
    const Failure failure =
        result == CUDA_ERROR_OUT_OF_MEMORY ? Failure::outOfMemory : Failure::device;
    throw Failed(failure,
                 describeMemory(what, bytes) + ": " + (text == nullptr ? "unknown" : text));
  }
};

const VirtualMemory& virtualMemory() {
  static const VirtualMemory functions;
  return functions;
}

CUmemAllocationProp propertiesOf(std::int32_t device) {
  CUmemAllocationProp properties{};
  properties.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  properties.location = {.type = CU_MEM_LOCATION_TYPE_DEVICE, .id = device};
  return properties;
}

CUdeviceptr addressOf(void* data) { return reinterpret_cast<CUdeviceptr>(data); }

std::size_t pageBytes(std::int32_t device) {
  constexpr std::size_t kUsual = std::size_t{2} << 20;
  std::size_t bytes = kUsual;
  outcomeOf([&] {
    check(cudaSetDevice(device), "choosing the device");
    const CUmemAllocationProp properties = propertiesOf(device);
    virtualMemory().require(
        virtualMemory().granularity(&bytes, &properties, CU_MEM_ALLOC_GRANULARITY_MINIMUM),
        "asking for the size of pages, usually", kUsual);
  });
  return bytes;
}

Outcome reserve(std::int32_t device, std::size_t bytes, void** data) {
  return outcomeOf([&] {
    check(cudaSetDevice(device), "choosing the device");
    CUdeviceptr address = 0;
    virtualMemory().require(virtualMemory().reserve(&address, bytes, 0, 0, 0),
                            "reserving addresses of", bytes);
    *data = reinterpret_cast<void*>(address);
  });
}

Outcome releaseReserved(std::int32_t, void* data, std::size_t bytes) {
  return outcomeOf([&] {
    virtualMemory().require(virtualMemory().freeAddress(addressOf(data), bytes),
                            "freeing addresses of", bytes);
  });
}

// Makes mapped pages of one's own usable; they are unmapped again if that fails.
CUresult mapTo(CUdeviceptr address, std::size_t bytes, CUmemGenericAllocationHandle pages,
               const CUmemLocation& location) {
  const VirtualMemory& functions = virtualMemory();
  const CUresult mapped = functions.map(address, bytes, 0, pages, 0);
  if (mapped != CUDA_SUCCESS) return mapped;
  const CUmemAccessDesc access{.location = location, .flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
  const CUresult accessible = functions.setAccess(address, bytes, &access, 1);
  if (accessible != CUDA_SUCCESS) functions.unmap(address, bytes);
  return accessible;
}

// Pages live until they are unmapped once nobody holds their handle (cuMemRelease's documentation),
// so that what is mapped where needs no record here.
Outcome map(std::int32_t device, void* data, std::size_t bytes) {
  return outcomeOf([&] {
    check(cudaSetDevice(device), "choosing the device");
    const VirtualMemory& functions = virtualMemory();
    const CUmemAllocationProp properties = propertiesOf(device);
    CUmemGenericAllocationHandle pages = 0;
    functions.require(functions.create(&pages, bytes, &properties, 0), "providing", bytes);
    const CUresult mapped = mapTo(addressOf(data), bytes, pages, properties.location);
    functions.release(pages);
    functions.require(mapped, "mapping", bytes);
  });
}

// Unlike cudaFree it does not wait by itself.
Outcome unmap(std::int32_t device, void* data, std::size_t bytes) {
  return outcomeOf([&] {
    check(cudaSetDevice(device), "choosing the device");
    const std::lock_guard lock(recordingGate());
    check(cudaDeviceSynchronize(), "waiting for the device");
    virtualMemory().require(virtualMemory().unmap(addressOf(data), bytes), "unmapping", bytes);
  });
}

}  // namespace

void addMemoryFunctions(Driver& driver) {
  driver.allocate = allocate;
  driver.release = release;
  driver.pageBytes = pageBytes;
  driver.reserve = reserve;
  driver.releaseReserved = releaseReserved;
  driver.map = map;
  driver.unmap = unmap;
  driver.freeBytes = freeBytes;
  driver.allocatePinned = allocatePinned;
  driver.releasePinned = releasePinned;
}

}  // namespace wgqa::cuda::runtime
