// Device memory: nothing is left behind, and running out of it is an error like any other.
#include <atomic>
#include <map>
#include <mutex>

#include "ops/cuda/cuda_ops.h"
#include "ops/cuda/emulation/emulated_driver.h"
#include "test/decode_fake_model.h"
#include "test/harness.h"
#include "test/model_fixture.h"
#include "train/trainer.h"

namespace wgqa::test {
namespace {

using cuda::Driver;
using cuda::Failure;
using cuda::Outcome;

constexpr std::int64_t kNoLimit = std::int64_t{1} << 40;

// What tests have of the emulated device: bytes in use, and how many there may be.
struct Meter {
  std::mutex mutex;
  std::map<void*, std::size_t> live;
  std::int64_t used = 0;
  std::atomic<std::int64_t> limit = kNoLimit;

  Outcome take(std::size_t bytes) {
    const std::lock_guard lock(mutex);
    if (used + static_cast<std::int64_t>(bytes) > limit) {
      return {Failure::outOfMemory, "the test allows no more"};
    }
    used += static_cast<std::int64_t>(bytes);
    return {};
  }
  void add(void* data, std::size_t bytes) {
    const std::lock_guard lock(mutex);
    live[data] = bytes;
  }
  void remove(void* data) {
    const std::lock_guard lock(mutex);
    used -= static_cast<std::int64_t>(live.at(data));
    live.erase(data);
  }
};

Meter& meter() {
  static Meter instance;
  return instance;
}

Outcome allocate(std::int32_t device, std::size_t bytes, void** data) {
  const Outcome outcome = meter().take(bytes);
  if (outcome.failure != Failure::none) return outcome;
  const Outcome result = cuda::emulatedDriver().allocate(device, bytes, data);
  meter().add(*data, bytes);
  return result;
}

Outcome release(std::int32_t device, void* data) {
  meter().remove(data);
  return cuda::emulatedDriver().release(device, data);
}

Outcome map(std::int32_t device, void* data, std::size_t bytes) {
  const Outcome outcome = meter().take(bytes);
  if (outcome.failure != Failure::none) return outcome;
  meter().add(data, bytes);
  return cuda::emulatedDriver().map(device, data, bytes);
}

Outcome unmap(std::int32_t device, void* data, std::size_t bytes) {
  meter().remove(data);
  return cuda::emulatedDriver().unmap(device, data, bytes);
}

cuda::Device& meteredDevice() {
  static const Driver driver = [] {
    Driver metered = cuda::emulatedDriver();
    metered.allocate = allocate;
    metered.release = release;
    metered.map = map;
    metered.unmap = unmap;
    return metered;
  }();
  static cuda::Device& device = *new cuda::Device(driver, 0);
  return device;
}

std::unique_ptr<Ops> makeOps() { return std::make_unique<CudaOps>(meteredDevice()); }

// Allows `bytes` more than are in use, for as long as it lives.
class Limit {
 public:
  explicit Limit(std::int64_t bytes) { meter().limit = meter().used + bytes; }
  ~Limit() { meter().limit = kNoLimit; }
  Limit(const Limit&) = delete;
  Limit& operator=(const Limit&) = delete;
};

WGQA_TEST(cudaMemoryIsAllGivenBack) {
  const SmallBatch batch;
  const TeacherForcedBatch view = batch.view();
  const std::int64_t before = meter().used;
  for (int cycle = 0; cycle < 3; ++cycle) {
    {
      const auto model = smallModel(true, makeOps());
      logitsOf(*model, batch);
      Trainer trainer(*model, {});
      trainer.step({&view, 1}, 1e-3f, nullptr);
      const auto encoderDecoder = model->makeEncoderDecoder(makeOps());
      decodeAlone(*encoderDecoder, {.maxCacheBytes = 1 << 20}, makeRequest({3, 4, 5}, 6), {});
      CHECK(meter().used > before);
    }
    CHECK_EQUAL(meter().used, before);
  }
}

WGQA_TEST(cudaMemoryThatRunsOutIsATypedError) {
  const SmallBatch batch;
  const auto model = smallModel(true, makeOps());
  const auto expected = logitsOf(*smallModel(true, makeReferenceOps()), batch);
  for (const std::int64_t bytes : {0, 10'000, 100'000}) {
    const Limit limit(bytes);
    CHECK_THROWS(ErrorCode::outOfMemory, logitsOf(*model, batch));
  }
  CHECK(relativeError(logitsOf(*model, batch), expected) <= 1e-5);
}

// A request that meets the end of the memory fails; the engine goes on with those that come later.
WGQA_TEST(cudaEngineOutlivesTheEndOfTheMemory) {
  const auto model = smallModel(true, makeOps());
  const auto encoderDecoder = model->makeEncoderDecoder(makeOps());
  const EngineOptions options{.maxCacheBytes = 1 << 22};
  GenerationRequest request = makeRequest({3, 4, 5}, 6);
  const auto expected = decodeAlone(*encoderDecoder, options, request, {});
  Scheduler scheduler(*encoderDecoder, options);
  Listener listener;
  {
    const Limit limit(0);
    scheduler.submit(1, request);
    listener.drain(scheduler);
  }
  const auto& failed = listener.results.at(1);
  CHECK(failed.error && failed.error->code() == ErrorCode::outOfMemory);
  scheduler.checkInvariant();
  scheduler.submit(2, request);
  listener.drain(scheduler);
  CHECK(!listener.results.at(2).error);
  checkSameSequences(listener.results.at(2).sequences, expected);
}

}  // namespace
}  // namespace wgqa::test
