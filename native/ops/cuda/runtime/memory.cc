#include "ops/cuda/runtime/memory.h"

#include <cuda.h>
#include <cudaTypedefs.h>

#include <map>
#include <mutex>

#include "ops/cuda/runtime/outcome.h"

namespace wgqa::cuda::runtime {
namespace {

std::string bytesText(std::size_t bytes) { return std::to_string(bytes) + " bytes"; }

Outcome allocate(std::int32_t device, std::size_t bytes, void** data) {
  return outcomeOf([&] {
    check(cudaSetDevice(device), "choosing the device");
    check(cudaMalloc(data, bytes), "allocating " + bytesText(bytes));
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
  return outcomeOf(
      [&] { check(cudaMallocHost(data, bytes), "allocating pinned " + bytesText(bytes)); });
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
    find("cuMemAddressReserve", reserve);
    find("cuMemAddressFree", freeAddress);
    find("cuMemCreate", create);
    find("cuMemRelease", release);
    find("cuMemMap", map);
    find("cuMemUnmap", unmap);
    find("cuMemSetAccess", setAccess);
    find("cuMemGetAllocationGranularity", granularity);
    find("cuGetErrorString", errorString);
  }

  void require(CUresult result, const char* what) const {
    if (result == CUDA_SUCCESS) return;
    const char* text = nullptr;
    errorString(result, &text);
    const Failure failure =
        result == CUDA_ERROR_OUT_OF_MEMORY ? Failure::outOfMemory : Failure::device;
    throw Failed(failure, std::string(what) + ": " + (text == nullptr ? "unknown" : text));
  }

 private:
  template <typename Function>
  static void find(const char* name, Function& function) {
    constexpr unsigned kVersion = 12000;
    cudaDriverEntryPointQueryResult result{};
    void* found = nullptr;
    const cudaError_t error =
        cudaGetDriverEntryPointByVersion(name, &found, kVersion, cudaEnableDefault, &result);
    if (error != cudaSuccess || result != cudaDriverEntryPointSuccess) {
      throw Failed(Failure::unsupported, std::string("the driver has no ") + name);
    }
    function = reinterpret_cast<Function>(found);
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

// What was mapped where, for unmapping.
class MappedPages {
 public:
  void add(void* data, CUmemGenericAllocationHandle handle) {
    const std::lock_guard lock(mutex_);
    handles_[data] = handle;
  }
  CUmemGenericAllocationHandle take(void* data) {
    const std::lock_guard lock(mutex_);
    const auto found = handles_.find(data);
    if (found == handles_.end()) throw Failed(Failure::device, "pages that were not provided");
    const CUmemGenericAllocationHandle handle = found->second;
    handles_.erase(found);
    return handle;
  }

 private:
  std::mutex mutex_;
  std::map<void*, CUmemGenericAllocationHandle> handles_;
};

MappedPages& mappedPages() {
  static MappedPages& pages = *new MappedPages;
  return pages;
}

std::size_t pageBytes(std::int32_t device) {
  constexpr std::size_t kUsual = std::size_t{2} << 20;
  std::size_t bytes = kUsual;
  outcomeOf([&] {
    check(cudaSetDevice(device), "choosing the device");
    const CUmemAllocationProp properties = propertiesOf(device);
    virtualMemory().require(
        virtualMemory().granularity(&bytes, &properties, CU_MEM_ALLOC_GRANULARITY_MINIMUM),
        "asking for the size of pages");
  });
  return bytes;
}

Outcome reserve(std::int32_t device, std::size_t bytes, void** data) {
  return outcomeOf([&] {
    check(cudaSetDevice(device), "choosing the device");
    CUdeviceptr address = 0;
    virtualMemory().require(virtualMemory().reserve(&address, bytes, 0, 0, 0),
                            "reserving addresses");
    *data = reinterpret_cast<void*>(address);
  });
}

Outcome releaseReserved(std::int32_t, void* data, std::size_t bytes) {
  return outcomeOf([&] {
    virtualMemory().require(virtualMemory().freeAddress(addressOf(data), bytes),
                            "freeing addresses");
  });
}

Outcome map(std::int32_t device, void* data, std::size_t bytes) {
  return outcomeOf([&] {
    check(cudaSetDevice(device), "choosing the device");
    const VirtualMemory& functions = virtualMemory();
    const CUmemAllocationProp properties = propertiesOf(device);
    CUmemGenericAllocationHandle handle = 0;
    functions.require(functions.create(&handle, bytes, &properties, 0), "providing pages");
    const CUresult mapped = functions.map(addressOf(data), bytes, 0, handle, 0);
    if (mapped != CUDA_SUCCESS) functions.release(handle);
    functions.require(mapped, "mapping pages");
    mappedPages().add(data, handle);
    const CUmemAccessDesc access{.location = properties.location,
                                 .flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
    functions.require(functions.setAccess(addressOf(data), bytes, &access, 1),
                      "making pages accessible");
  });
}

// Unlike cudaFree it does not wait by itself.
Outcome unmap(std::int32_t device, void* data, std::size_t bytes) {
  return outcomeOf([&] {
    check(cudaSetDevice(device), "choosing the device");
    check(cudaDeviceSynchronize(), "waiting for the device");
    const CUmemGenericAllocationHandle handle = mappedPages().take(data);
    const VirtualMemory& functions = virtualMemory();
    functions.require(functions.unmap(addressOf(data), bytes), "unmapping pages");
    functions.require(functions.release(handle), "giving pages back");
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
