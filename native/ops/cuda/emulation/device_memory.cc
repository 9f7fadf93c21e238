#include "ops/cuda/emulation/device_memory.h"

#include <sys/mman.h>

#include <cstring>

#include "base/error.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, bytes) static_cast<void>(0)
#define ASAN_UNPOISON_MEMORY_REGION(address, bytes) static_cast<void>(0)
#endif

namespace wgqa::cuda::emulation {
namespace {

constexpr std::size_t kArenaBytes = std::size_t{4} << 30;
constexpr std::size_t kAlignment = 256;  // and what lies between two allocations, poisoned

std::byte* reserveAddresses(std::size_t bytes) {
  void* data = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  require(data != MAP_FAILED, "no addresses for the emulated device");
  return static_cast<std::byte*>(data);
}

std::size_t roomFor(std::size_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment + kAlignment;
}

}  // namespace

DeviceMemory::DeviceMemory() : arena_(reserveAddresses(kArenaBytes)) {}

// Allocations of one size use each other's room again: tests ask for the same sizes all the time.
void* DeviceMemory::allocate(std::size_t bytes) {
  const Access access(*this);
  const std::lock_guard lock(mutex_);
  const std::size_t room = roomFor(bytes);
  std::byte* data = nullptr;
  if (const auto found = free_.find(room); found != free_.end()) {
    data = found->second;
    free_.erase(found);
  } else if (arenaEnd_ + room <= kArenaBytes) {
    data = arena_ + arenaEnd_;
    arenaEnd_ += room;
    mprotect(arena_, arenaEnd_, PROT_READ | PROT_WRITE);
  } else {
    return nullptr;
  }
  live_[data] = bytes;
  ASAN_UNPOISON_MEMORY_REGION(data, bytes);
  std::memset(data, 0xff, bytes);
  ASAN_POISON_MEMORY_REGION(data + bytes, room - bytes);
  return data;
}

void DeviceMemory::release(void* data) {
  const std::lock_guard lock(mutex_);
  const auto found = live_.find(static_cast<std::byte*>(data));
  require(found != live_.end(), "device memory is released that was not allocated");
  ASAN_POISON_MEMORY_REGION(data, found->second);
  free_.emplace(roomFor(found->second), found->first);
  live_.erase(found);
}

void* DeviceMemory::reserve(std::size_t bytes) { return reserveAddresses(bytes); }

void DeviceMemory::releaseReserved(void* data, std::size_t bytes) { munmap(data, bytes); }

void DeviceMemory::map(void* data, std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  mprotect(data, bytes, PROT_READ | PROT_WRITE);
  std::memset(data, 0xff, bytes);
  mapped_[static_cast<std::byte*>(data)] = bytes;
  if (isProtected_) mprotect(data, bytes, PROT_NONE);
}

void DeviceMemory::unmap(void* data, std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  require(mapped_.erase(static_cast<std::byte*>(data)) == 1, "pages are given back twice");
  madvise(data, bytes, MADV_DONTNEED);
  mprotect(data, bytes, PROT_NONE);
}

void DeviceMemory::enter() {
  const std::lock_guard lock(mutex_);
  if (users_++ == 0 && isProtected_) protect(PROT_READ | PROT_WRITE);
}

void DeviceMemory::leave() {
  const std::lock_guard lock(mutex_);
  // Changing pages takes longer than most calls do: not after every one of them.
  constexpr int kSeldom = 8;
  if (--users_ == 0 && ++calls_ % kSeldom == 0) protect(PROT_NONE);
}

void DeviceMemory::protect(int protection) {
  isProtected_ = protection == PROT_NONE;
  if (arenaEnd_ > 0) mprotect(arena_, arenaEnd_, protection);
  for (const auto& [data, bytes] : mapped_) mprotect(data, bytes, protection);
}

}  // namespace wgqa::cuda::emulation
