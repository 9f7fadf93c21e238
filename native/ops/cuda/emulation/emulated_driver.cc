#include "ops/cuda/emulation/emulated_driver.h"

#include <cmath>
#include <cstring>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/dtype.h"
#include "base/error.h"
#include "ops/cuda/device.h"
#include "ops/cuda/emulation/device_memory.h"
#include "ops/cuda/emulation/hopper.h"
#include "ops/cuda/emulation/launch.h"
#include "ops/cuda/kernels/registry.h"

namespace wgqa::cuda {
namespace {

constexpr std::size_t kPageBytes = 65536;

// Never destroyed: memory of it may be released by what is destroyed at the program's end.
emulation::DeviceMemory& memory() {
  static emulation::DeviceMemory& instance = *new emulation::DeviceMemory;
  return instance;
}

// What a stream was asked for while it recorded.
using Recording = std::vector<std::function<void()>>;

struct EmulatedStream {
  std::unique_ptr<Recording> recording;  // while it records
};

thread_local std::string lastMessage;

Outcome failed(Failure failure, std::string message) {
  lastMessage = std::move(message);
  return {failure, lastMessage.c_str()};
}

template <typename Work>
Outcome outcomeOf(Work work) {
  try {
    const emulation::DeviceMemory::Access access(memory());
    work();
    return {};
  } catch (const std::exception& error) {
    return failed(Failure::device, error.what());
  }
}

// Does it at once, or when the recording is replayed.
Outcome perform(void* stream, std::function<void()> work) {
  auto& recording = static_cast<EmulatedStream*>(stream)->recording;
  if (!recording) return outcomeOf(work);
  recording->push_back(std::move(work));
  return {};
}

// ---------------------------------------------------------------------------- memory

Outcome allocate(std::int32_t, std::size_t bytes, void** data) {
  *data = memory().allocate(bytes);
  if (*data == nullptr) return failed(Failure::outOfMemory, std::to_string(bytes) + " bytes");
  return {};
}

Outcome release(std::int32_t, void* data) {
  return outcomeOf([&] { memory().release(data); });
}

Outcome reserve(std::int32_t, std::size_t bytes, void** data) {
  return outcomeOf([&] { *data = memory().reserve(bytes); });
}

Outcome releaseReserved(std::int32_t, void* data, std::size_t bytes) {
  return outcomeOf([&] { memory().releaseReserved(data, bytes); });
}

Outcome map(std::int32_t, void* data, std::size_t bytes) {
  return outcomeOf([&] { memory().map(data, bytes); });
}

Outcome unmap(std::int32_t, void* data, std::size_t bytes) {
  return outcomeOf([&] { memory().unmap(data, bytes); });
}

Outcome freeBytes(std::int32_t, std::size_t* bytes) {
  *bytes = std::size_t{1} << 30;
  return {};
}

Outcome allocatePinned(std::size_t bytes, void** data) {
  *data = ::operator new(bytes);
  return {};
}

Outcome releasePinned(void* data) {
  ::operator delete(data);
  return {};
}

// ---------------------------------------------------------------------------- streams

Outcome createStream(std::int32_t, void** stream) {
  *stream = new EmulatedStream;
  return {};
}
void destroyStream(void* stream) { delete static_cast<EmulatedStream*>(stream); }
Outcome synchronize(void*) { return {}; }

Outcome copyBytes(void* stream, void* to, const void* from, std::size_t bytes) {
  return perform(stream, [=] { std::memmove(to, from, bytes); });
}

Outcome fill(void* stream, void* to, std::int32_t byte, std::size_t bytes) {
  return perform(stream, [=] { std::memset(to, byte, bytes); });
}

// ---------------------------------------------------------------------------- kernels

const void* find(std::int32_t, const char* name) {
  static const std::vector<KernelEntry> kernels = allKernels();
  for (const KernelEntry& entry : kernels) {
    if (std::strcmp(entry.name, name) == 0) return &entry;
  }
  return nullptr;
}

Outcome mapTensor(std::int32_t, const TensorBoxes* boxes, TensorMap* map) {
  return outcomeOf([&] { emulation::describe(*boxes, *map); });
}

// Aligned for any argument.
struct alignas(alignof(TensorMap)) ArgumentBytes {
  std::byte bytes[kMostArgumentBytes];
};

Outcome launch(void* stream, const Launch* launch) {
  auto arguments = std::make_shared<ArgumentBytes>();
  std::memcpy(arguments->bytes, launch->arguments, static_cast<std::size_t>(launch->argumentBytes));
  return perform(stream, [copy = *launch, arguments]() mutable {
    copy.arguments = arguments->bytes;
    emulation::run(*static_cast<const KernelEntry*>(copy.kernel), copy);
  });
}

// ---------------------------------------------------------------------------- dense products

double element(const void* data, ElementType type, std::int64_t index) {
  switch (type) {
    case ElementType::float32:
      return static_cast<const float*>(data)[index];
    case ElementType::float16:
      return toFloat(static_cast<const Float16*>(data)[index]);
    case ElementType::bfloat16:
      return toFloat(static_cast<const BFloat16*>(data)[index]);
    case ElementType::int8:
      return static_cast<const std::int8_t*>(data)[index];
    case ElementType::int32:
      return static_cast<const std::int32_t*>(data)[index];
  }
  return 0.0;
}

void setElement(void* data, ElementType type, std::int64_t index, double value) {
  const auto rounded = static_cast<float>(value);
  switch (type) {
    case ElementType::float32:
      static_cast<float*>(data)[index] = rounded;
      return;
    case ElementType::float16:
      static_cast<Float16*>(data)[index] = toFloat16(rounded);
      return;
    case ElementType::bfloat16:
      static_cast<BFloat16*>(data)[index] = toBFloat16(rounded);
      return;
    case ElementType::int32:
      static_cast<std::int32_t*>(data)[index] = static_cast<std::int32_t>(std::lrint(value));
      return;
    case ElementType::int8:
      throw Error(ErrorCode::internal, "products do not give int8");
  }
}

// A stored matrix as [rows, columns] numbers.
std::vector<double> matrix(const void* data, ElementType type, std::int64_t rows,
                           std::int64_t columns, std::int64_t stride, bool transposed) {
  std::vector<double> numbers;
  numbers.reserve(static_cast<std::size_t>(rows * columns));
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t column = 0; column < columns; ++column) {
      const std::int64_t place = transposed ? column * stride + row : row * stride + column;
      numbers.push_back(element(data, type, place));
    }
  }
  return numbers;
}

// sums [columns] += row [inner] b [inner, columns], between our own copies: with each access
// checked, tests of products take twice as long.
__attribute__((no_sanitize("address", "undefined"))) void addRowProduct(
    const double* row, const double* b, std::int64_t inner, std::int64_t columns, double* sums) {
  for (std::int64_t k = 0; k < inner; ++k) {
    for (std::int64_t column = 0; column < columns; ++column) {
      sums[column] += row[k] * b[k * columns + column];
    }
  }
}

void multiplyNow(const DenseProduct& p) {
  const auto a = matrix(p.a, p.input, p.rows, p.inner, p.aStride, p.aTransposed);
  const auto b = matrix(p.b, p.input, p.inner, p.columns, p.bStride, p.bTransposed);
  for (std::int64_t row = 0; row < p.rows; ++row) {
    std::vector<double> sums(static_cast<std::size_t>(p.columns));
    addRowProduct(a.data() + row * p.inner, b.data(), p.inner, p.columns, sums.data());
    for (std::int64_t column = 0; column < p.columns; ++column) {
      const std::int64_t place = row * p.outStride + column;
      const double before = p.beta == 0.0f ? 0.0 : p.beta * element(p.out, p.output, place);
      setElement(p.out, p.output, place, p.alpha * sums[static_cast<std::size_t>(column)] + before);
    }
  }
}

Outcome multiply(void* stream, const DenseProduct* product) {
  return perform(stream, [copy = *product] { multiplyNow(copy); });
}

// ---------------------------------------------------------------------------- recordings

Outcome beginRecording(void* stream) {
  static_cast<EmulatedStream*>(stream)->recording = std::make_unique<Recording>();
  return {};
}

Outcome endRecording(void* stream, void** recording) {
  *recording = static_cast<EmulatedStream*>(stream)->recording.release();
  return {};
}

Outcome replay(void* stream, void* recording) {
  return outcomeOf([&] {
    require(!static_cast<EmulatedStream*>(stream)->recording, "a recording inside a recording");
    for (const auto& work : *static_cast<Recording*>(recording)) work();
  });
}

void destroyRecording(void* recording) { delete static_cast<Recording*>(recording); }

constexpr std::int32_t kHopper = 1;
std::int32_t deviceCount(Outcome*) { return 2; }

Outcome properties(std::int32_t device, DeviceProperties* properties) {
  const bool isHopper = device == kHopper;
  *properties = {.name = "emulated on the CPU",
                 .computeCapability = isHopper ? 90 : 80,
                 .multiprocessors = 4,
                 .sharedBytesPerBlock = isHopper ? 232448 : 166912,
                 .sharedBytesPerMultiprocessor = isHopper ? 233472 : 167936,
                 .registersPerMultiprocessor = 65536,
                 .l2Bytes = 40 << 20,
                 .memoryBytes = std::int64_t{1} << 30};
  return {};
}

std::size_t pageBytes(std::int32_t) { return kPageBytes; }

}  // namespace

const Driver& emulatedDriver() {
  static const Driver driver = {.version = kDriverVersion,
                                .name = "cuda-emulated",
                                .deviceCount = deviceCount,
                                .properties = properties,
                                .allocate = allocate,
                                .release = release,
                                .pageBytes = pageBytes,
                                .reserve = reserve,
                                .releaseReserved = releaseReserved,
                                .map = map,
                                .unmap = unmap,
                                .freeBytes = freeBytes,
                                .allocatePinned = allocatePinned,
                                .releasePinned = releasePinned,
                                .createStream = createStream,
                                .destroyStream = destroyStream,
                                .synchronize = synchronize,
                                .copyToDevice = copyBytes,
                                .copyToHost = copyBytes,
                                .copyOnDevice = copyBytes,
                                .fill = fill,
                                .find = find,
                                .mapTensor = mapTensor,
                                .launch = launch,
                                .multiply = multiply,
                                .beginRecording = beginRecording,
                                .endRecording = endRecording,
                                .replay = replay,
                                .destroyRecording = destroyRecording};
  return driver;
}

}  // namespace wgqa::cuda
