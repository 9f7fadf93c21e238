#include "ops/cuda/runtime/stream.h"

#include <atomic>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "ops/cuda/kernels/registry.h"
#include "ops/cuda/runtime/dense_products.h"
#include "ops/cuda/runtime/outcome.h"
#include "ops/cuda/runtime/recording_gate.h"

namespace wgqa::cuda::runtime {

StreamState::StreamState() = default;

StreamState::~StreamState() {
  cudaSetDevice(device);
  products.reset();
  if (stream != nullptr) cudaStreamDestroy(stream);
}

namespace {

StreamState& stateOf(void* stream) { return *static_cast<StreamState*>(stream); }

// The stream's own thread works on its device.
cudaStream_t enter(void* stream) {
  const StreamState& state = stateOf(stream);
  check(cudaSetDevice(state.device), "choosing the device");
  return state.stream;
}

Outcome createStream(std::int32_t device, void** stream) {
  return outcomeOf([&] {
    check(cudaSetDevice(device), "choosing the device");
    auto state = std::make_unique<StreamState>();
    state->device = device;
    check(cudaStreamCreateWithFlags(&state->stream, cudaStreamNonBlocking), "making a stream");
    *stream = state.release();
  });
}

void destroyStream(void* stream) { delete static_cast<StreamState*>(stream); }

Outcome synchronize(void* stream) {
  return outcomeOf([&] { check(cudaStreamSynchronize(enter(stream)), "waiting for a stream"); });
}

// ---------------------------------------------------------------------------- copies

template <cudaMemcpyKind kKind>
Outcome copy(void* stream, void* to, const void* from, std::size_t bytes) {
  return outcomeOf([&] {
    checkMemory(cudaMemcpyAsync(to, from, bytes, kKind, enter(stream)), "copying", bytes);
  });
}

Outcome fill(void* stream, void* to, std::int32_t byte, std::size_t bytes) {
  return outcomeOf(
      [&] { checkMemory(cudaMemsetAsync(to, byte, bytes, enter(stream)), "filling", bytes); });
}

// ---------------------------------------------------------------------------- kernels

constexpr std::int32_t kMostDevices = 64;
constexpr std::int32_t kFreeSharedBytes = 48 * 1024;  // without having asked for more

struct LoadedKernel {
  explicit LoadedKernel(const KernelEntry& known) : entry(known) {}

  KernelEntry entry;
  std::atomic<std::int32_t> sharedBytes[kMostDevices] = {};  // that were asked for, by device
};

const std::unordered_map<std::string_view, std::unique_ptr<LoadedKernel>>& kernels() {
  static const auto& all = *[] {
    auto* map = new std::unordered_map<std::string_view, std::unique_ptr<LoadedKernel>>;
    for (const KernelEntry& entry : allKernels()) {
      map->emplace(entry.name, std::make_unique<LoadedKernel>(entry));
    }
    return map;
  }();
  return all;
}

const void* find(std::int32_t, const char* name) {
  const void* kernel = nullptr;
  outcomeOf([&] {
    if (const auto found = kernels().find(name); found != kernels().end()) {
      kernel = found->second.get();
    }
  });
  return kernel;
}

void allowSharedBytes(LoadedKernel& kernel, std::int32_t device, std::int32_t bytes) {
  std::atomic<std::int32_t>& allowed = kernel.sharedBytes[device];
  if (bytes <= kFreeSharedBytes || bytes <= allowed.load(std::memory_order_relaxed)) return;
  check(cudaFuncSetAttribute(kernel.entry.function, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             bytes),
        "asking for shared memory of ", kernel.entry.name);
  allowed.store(bytes, std::memory_order_relaxed);
}

Outcome launch(void* stream, const Launch* launch) {
  return outcomeOf([&] {
    const cudaStream_t queue = enter(stream);
    auto& kernel = *static_cast<LoadedKernel*>(const_cast<void*>(launch->kernel));
    if (launch->argumentBytes != kernel.entry.argumentBytes) {
      throw Failed(Failure::device, std::string(kernel.entry.name) + ": arguments of another size");
    }
    allowSharedBytes(kernel, stateOf(stream).device, launch->sharedBytes);
    void* arguments[] = {const_cast<void*>(launch->arguments)};
    const dim3 grid(static_cast<unsigned>(launch->grid[0]), static_cast<unsigned>(launch->grid[1]),
                    static_cast<unsigned>(launch->grid[2]));
    check(
        cudaLaunchKernel(kernel.entry.function, grid, dim3(static_cast<unsigned>(launch->threads)),
                         arguments, static_cast<std::size_t>(launch->sharedBytes), queue),
        "launching ", kernel.entry.name);
  });
}

DenseProducts& productsOf(StreamState& state) {
  if (!state.products) state.products = std::make_unique<DenseProducts>(state.device);
  return *state.products;
}

Outcome multiply(void* stream, const DenseProduct* product) {
  return outcomeOf([&] {
    enter(stream);
    StreamState& state = stateOf(stream);
    productsOf(state).run(*product, state.stream);
  });
}

// ---------------------------------------------------------------------------- recordings

// A stream that records cannot allocate: the workspace of products is made before. Whoever has no
// cuBLASLt is told when it is needed.
void prepareProducts(StreamState& state) {
  try {
    productsOf(state);
  } catch (const Failed& error) {
    if (error.failure() != Failure::missingLibrary) throw;
  }
}

Outcome beginRecording(void* stream) {
  return outcomeOf([&] {
    const cudaStream_t queue = enter(stream);
    prepareProducts(stateOf(stream));
    std::shared_lock lock(recordingGate());
    check(cudaStreamBeginCapture(queue, cudaStreamCaptureModeThreadLocal), "beginning to record");
    stateOf(stream).recording = std::move(lock);
  });
}

Outcome endRecording(void* stream, void** recording) {
  return outcomeOf([&] {
    const auto lock = std::move(stateOf(stream).recording);
    cudaGraph_t graph = nullptr;
    check(cudaStreamEndCapture(enter(stream), &graph), "ending a recording");
    cudaGraphExec_t executable = nullptr;
    const cudaError_t error = cudaGraphInstantiate(&executable, graph, 0);
    cudaGraphDestroy(graph);
    check(error, "preparing a recording");
    *recording = executable;
  });
}

Outcome replay(void* stream, void* recording) {
  return outcomeOf([&] {
    check(cudaGraphLaunch(static_cast<cudaGraphExec_t>(recording), enter(stream)),
          "replaying a recording");
  });
}

void destroyRecording(void* recording) {
  cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(recording));
}

}  // namespace

void addStreamFunctions(Driver& driver) {
  driver.createStream = createStream;
  driver.destroyStream = destroyStream;
  driver.synchronize = synchronize;
  // Pageable memory is staged by CUDA before the call returns.
  driver.copyToDevice = copy<cudaMemcpyHostToDevice>;
  driver.copyToHost = copy<cudaMemcpyDeviceToHost>;
  driver.copyOnDevice = copy<cudaMemcpyDeviceToDevice>;
  driver.fill = fill;
  driver.find = find;
  driver.launch = launch;
  driver.multiply = multiply;
  driver.beginRecording = beginRecording;
  driver.endRecording = endRecording;
  driver.replay = replay;
  driver.destroyRecording = destroyRecording;
}

}  // namespace wgqa::cuda::runtime
