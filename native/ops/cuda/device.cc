#include "ops/cuda/device.h"

#include <algorithm>

#include "ops/cuda/step_recorder.h"

namespace wgqa::cuda {
namespace {

class DeviceReservation final : public Reservation {
 public:
  DeviceReservation(Device& device, std::size_t bytes)
      : device_(device), pageBytes_(device.pageBytes()) {
    bytes_ = (bytes + pageBytes_ - 1) / pageBytes_ * pageBytes_;
    provided_.resize(bytes_ / pageBytes_, false);
    void* data = nullptr;
    check(device.driver().reserve(device.index(), bytes_, &data));
    data_ = static_cast<std::byte*>(data);
  }
  ~DeviceReservation() override {
    giveBack(0, bytes_);
    device_.driver().releaseReserved(device_.index(), data_, bytes_);
  }
  DeviceReservation(const DeviceReservation&) = delete;
  DeviceReservation& operator=(const DeviceReservation&) = delete;

  std::byte* data() const override { return data_; }
  std::size_t bytes() const override { return bytes_; }
  bool providesOnWrite() const override { return false; }

  void provide(std::size_t offset, std::size_t bytes) override {
    if (bytes == 0) return;
    for (std::size_t page = offset / pageBytes_; page * pageBytes_ < offset + bytes; ++page) {
      if (provided_[page]) continue;
      check(device_.driver().map(device_.index(), data_ + page * pageBytes_, pageBytes_));
      provided_[page] = true;
    }
  }

  void giveBack(std::size_t offset, std::size_t bytes) override {
    const std::size_t first = (offset + pageBytes_ - 1) / pageBytes_;
    for (std::size_t page = first; (page + 1) * pageBytes_ <= offset + bytes; ++page) {
      if (!provided_[page]) continue;
      device_.driver().unmap(device_.index(), data_ + page * pageBytes_, pageBytes_);
      provided_[page] = false;
    }
  }

 private:
  Device& device_;
  std::size_t pageBytes_;
  std::size_t bytes_ = 0;
  std::byte* data_ = nullptr;
  std::vector<bool> provided_;  // by page
};

}  // namespace

void check(const Outcome& outcome) {
  const std::string message = outcome.message == nullptr ? "unknown failure" : outcome.message;
  switch (outcome.failure) {
    case Failure::none:
      return;
    case Failure::outOfMemory:
      throw Error(ErrorCode::outOfMemory, "out of device memory: " + message, "device");
    case Failure::missingLibrary:
    case Failure::unsupported:
      throw Error(ErrorCode::unsupported, message, "device");
    case Failure::device:
      throw Error(ErrorCode::internal, "CUDA: " + message, "device");
  }
}

Device::Device(const Driver& driver, std::int32_t index, std::int32_t mostCapability)
    : driver_(driver), index_(index) {
  check(driver.properties(index, &properties_));
  properties_.computeCapability = std::min(properties_.computeCapability, mostCapability);
}

std::int64_t Device::freeBytes() const {
  std::size_t bytes = 0;
  check(driver_.freeBytes(index_, &bytes));
  return static_cast<std::int64_t>(bytes);
}

TensorMap Device::map(const TensorBoxes& boxes) const {
  TensorMap map{};
  check(driver_.mapTensor(index_, &boxes, &map));
  return map;
}

void* Device::allocate(std::size_t bytes) {
  void* data = nullptr;
  check(driver_.allocate(index_, bytes, &data));
  return data;
}

void Device::release(void* data, std::size_t /*bytes*/) noexcept { driver_.release(index_, data); }

std::unique_ptr<Reservation> Device::reserve(std::size_t bytes) {
  return std::make_unique<DeviceReservation>(*this, bytes);
}

Stream::Stream(Device& device) : device_(device) {
  check(device.driver().createStream(device.index(), &stream_));
}

Stream::~Stream() { device_.driver().destroyStream(stream_); }

const void* Stream::kernelNamed(const char* name) {
  const void*& kernel = kernels_[name];
  if (kernel == nullptr) kernel = device_.driver().find(device_.index(), name);
  if (kernel == nullptr) {
    throw Error(ErrorCode::internal, std::string("no kernel is named ") + name, "device");
  }
  return kernel;
}

void Stream::launch(const char* name, const Grid& grid, const Block& block, const void* arguments,
                    std::size_t argumentBytes) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  constexpr std::int64_t kMostX = 0x7fffffff;
  constexpr std::int64_t kMostYZ = 0xffff;
  require(grid.x <= kMostX && grid.y <= kMostYZ && grid.z <= kMostYZ,
          "a launch of too many blocks");
  const Launch launch{kernelNamed(name),
                      {static_cast<std::int32_t>(grid.x), static_cast<std::int32_t>(grid.y),
                       static_cast<std::int32_t>(grid.z)},
                      block.threads,
                      static_cast<std::int32_t>(block.sharedBytes),
                      arguments,
                      static_cast<std::int32_t>(argumentBytes)};
  if (recorder_ != nullptr) return recorder_->launch(launch);
  check(device_.driver().launch(stream_, &launch));
}

void Stream::multiply(const DenseProduct& product) {
  if (recorder_ != nullptr) return recorder_->multiply(product);
  check(device_.driver().multiply(stream_, &product));
}

void Stream::copyToDevice(void* to, const void* from, std::size_t bytes) {
  require(recorder_ == nullptr, "a copy from the host inside a step");
  if (bytes > 0) check(device_.driver().copyToDevice(stream_, to, from, bytes));
}

void Stream::copyToHost(void* to, const void* from, std::size_t bytes) {
  require(recorder_ == nullptr, "a copy to the host inside a step");
  if (bytes > 0) check(device_.driver().copyToHost(stream_, to, from, bytes));
  synchronize();
}

void Stream::copyOnDevice(void* to, const void* from, std::size_t bytes) {
  if (bytes == 0) return;
  if (recorder_ != nullptr) return recorder_->copyOnDevice(to, from, bytes);
  check(device_.driver().copyOnDevice(stream_, to, from, bytes));
}

void Stream::fill(void* to, int byte, std::size_t bytes) {
  if (bytes == 0) return;
  if (recorder_ != nullptr) return recorder_->fill(to, byte, bytes);
  check(device_.driver().fill(stream_, to, byte, bytes));
}

void Stream::synchronize() { check(device_.driver().synchronize(stream_)); }

}  // namespace wgqa::cuda
