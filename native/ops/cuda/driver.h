// The boundary between the CUDA backend's host code and what runs its kernels: the CUDA runtime, in
// a shared library of its own that is loaded where a driver is (runtime/), or an emulation of the
// execution model on the CPU (emulation/). Plain C, so that a library built by another compiler can
// be told by its number.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/cuda/kernels/tensor_map.h"

namespace wgqa::cuda {

/// Changes with anything in this file or in an arguments struct of kernels/.
inline constexpr std::uint32_t kDriverVersion = 2;

/// Why a call failed; ok is 0.
enum class Failure : std::int32_t {
  none = 0,
  outOfMemory = 1,
  missingLibrary = 2,  // cuBLASLt
  unsupported = 3,
  device = 4,  // anything else that CUDA reports
};

/// What a call of the driver returns. `message` lives until the thread's next call.
struct Outcome {
  Failure failure = Failure::none;
  const char* message = nullptr;
};

struct DeviceProperties {
  char name[256];
  std::int32_t computeCapability;  // 10 * major + minor
  std::int32_t multiprocessors;
  std::int32_t sharedBytesPerBlock;  // at most, dynamic
  std::int32_t sharedBytesPerMultiprocessor;
  std::int32_t registersPerMultiprocessor;
  std::int64_t l2Bytes;
  std::int64_t memoryBytes;
};

enum class ElementType : std::int32_t { float32, float16, bfloat16, int8, int32 };

/// out[rows, columns] = alpha * a op b + beta * out, row-major, through the library of dense
/// products. `a` is [rows, inner] or, if transposed, stored as [inner, rows]; `b` is [inner,
/// columns] or, if transposed, stored as [columns, inner].
struct DenseProduct {
  std::int64_t rows, columns, inner;
  const void* a;
  std::int64_t aStride;  // elements from one stored row to the next
  bool aTransposed;
  const void* b;
  std::int64_t bStride;
  bool bTransposed;
  void* out;
  std::int64_t outStride;
  ElementType input;   // of a and b: float32 | float16 | bfloat16, or int8 with an int32 output
  ElementType output;  // float32 | float16 | bfloat16 | int32
  float alpha, beta;
};

struct Launch {
  const void* kernel;  // from find()
  std::int32_t grid[3];
  std::int32_t threads;
  std::int32_t sharedBytes;  // dynamic
  const void* arguments;     // the kernel's one parameter
  std::int32_t argumentBytes;
};

/// All functions may be called from any thread; a stream is used by one thread at a time.
struct Driver {
  std::uint32_t version;
  const char* name;  // "cuda" | "cuda-emulated"

  /// Number of usable devices; if 0, `outcome.message` says why.
  std::int32_t (*deviceCount)(Outcome* outcome);
  Outcome (*properties)(std::int32_t device, DeviceProperties* properties);

  Outcome (*allocate)(std::int32_t device, std::size_t bytes, void** data);
  Outcome (*release)(std::int32_t device, void* data);
  /// Address space in units of pageBytes(), which map() and unmap() provide with memory.
  std::size_t (*pageBytes)(std::int32_t device);
  Outcome (*reserve)(std::int32_t device, std::size_t bytes, void** data);
  Outcome (*releaseReserved)(std::int32_t device, void* data, std::size_t bytes);
  Outcome (*map)(std::int32_t device, void* data, std::size_t bytes);
  Outcome (*unmap)(std::int32_t device, void* data, std::size_t bytes);
  /// Bytes free on the device.
  Outcome (*freeBytes)(std::int32_t device, std::size_t* bytes);
  /// Host memory that copies may use while the host goes on.
  Outcome (*allocatePinned)(std::size_t bytes, void** data);
  Outcome (*releasePinned)(void* data);

  Outcome (*createStream)(std::int32_t device, void** stream);
  void (*destroyStream)(void* stream);
  /// Waits until all work of the stream is done.
  Outcome (*synchronize)(void* stream);
  // In the stream's order. Host memory of copyToDevice is read before the call returns unless it is
  // pinned; that of copyToHost is written at the next synchronize().
  Outcome (*copyToDevice)(void* stream, void* to, const void* from, std::size_t bytes);
  Outcome (*copyToHost)(void* stream, void* to, const void* from, std::size_t bytes);
  Outcome (*copyOnDevice)(void* stream, void* to, const void* from, std::size_t bytes);
  Outcome (*fill)(void* stream, void* to, std::int32_t byte, std::size_t bytes);

  /// A kernel by its name, or null.
  const void* (*find)(std::int32_t device, const char* name);
  /// A map of a tensor that is not empty, for kernels of compute capability 9.0.
  Outcome (*mapTensor)(std::int32_t device, const TensorBoxes* boxes, TensorMap* map);
  Outcome (*launch)(void* stream, const Launch* launch);
  Outcome (*multiply)(void* stream, const DenseProduct* product);

  /// Between the two, what the stream is asked for is recorded instead of done.
  Outcome (*beginRecording)(void* stream);
  Outcome (*endRecording)(void* stream, void** recording);
  Outcome (*replay)(void* stream, void* recording);
  void (*destroyRecording)(void* recording);
};

}  // namespace wgqa::cuda

/// The one symbol of the shared library.
extern "C" const wgqa::cuda::Driver* wgqaCudaDriver();
