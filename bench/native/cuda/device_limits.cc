#include "cuda/device_limits.h"

#include <algorithm>
#include <memory>
#include <random>

#include "base/buffer.h"
#include "base/dtype.h"

namespace wgqa::bench {
namespace {

using cuda::Device;
using cuda::Stream;

class CopyLimit {
 public:
  static constexpr std::size_t kBytes = std::size_t{1} << 30;

  explicit CopyLimit(Device& device) : stream_(device), from_(device, kBytes), to_(device, kBytes) {
    stream_.fill(from_.as<void>(), 0x5a, kBytes);
  }
  void run() {
    stream_.copyOnDevice(to_.as<void>(), from_.as<void>(), kBytes);
    stream_.synchronize();
  }

 private:
  Stream stream_;
  Buffer from_, to_;
};

class MatrixLimit {
 public:
  static constexpr std::int64_t kSize = 8192;
  static constexpr std::size_t kElements = std::size_t{kSize} * kSize;

  explicit MatrixLimit(Device& device)
      : stream_(device),
        a_(device, 2 * kElements),
        b_(device, 2 * kElements),
        out_(device, 2 * kElements) {
    std::vector<BFloat16> values(kElements);
    std::mt19937 generator(1);
    std::ranges::generate(values, [&] {
      return toBFloat16(static_cast<float>(generator() % 2048) / 1024.0f - 1.0f);
    });
    for (const Buffer* buffer : {&a_, &b_}) {
      stream_.copyToDevice(buffer->as<void>(), values.data(), buffer->bytes());
    }
    stream_.synchronize();
  }
  void run() {
    stream_.multiply({.rows = kSize,
                      .columns = kSize,
                      .inner = kSize,
                      .a = a_.as<void>(),
                      .aStride = kSize,
                      .aTransposed = false,
                      .b = b_.as<void>(),
                      .bStride = kSize,
                      .bTransposed = true,
                      .out = out_.as<void>(),
                      .outStride = kSize,
                      .input = cuda::ElementType::bfloat16,
                      .output = cuda::ElementType::bfloat16,
                      .alpha = 1.0f,
                      .beta = 0.0f});
    stream_.synchronize();
  }

 private:
  Stream stream_;
  Buffer a_, b_, out_;
};

}  // namespace

Subject copyBandwidth(Device& device) {
  const auto limit = std::make_shared<CopyLimit>(device);
  return {.name = "copy bandwidth",
          .work = 2.0 * static_cast<double>(CopyLimit::kBytes),
          .run = [limit] { limit->run(); }};
}

Subject matrixPeak(Device& device) {
  const auto limit = std::make_shared<MatrixLimit>(device);
  return {.name = "cuBLASLt bfloat16",
          .work = 2.0 * MatrixLimit::kSize * MatrixLimit::kSize * MatrixLimit::kSize,
          .run = [limit] { limit->run(); }};
}

std::string describeDevice(const Device& device) {
  const cuda::DeviceProperties& properties = device.properties();
  return std::string(properties.name) + ", compute capability " +
         std::to_string(properties.computeCapability / 10) + "." +
         std::to_string(properties.computeCapability % 10) + ", " +
         std::to_string(properties.multiprocessors) + " multiprocessors";
}

}  // namespace wgqa::bench
