// The memory of the emulated device: the host must not touch it. Outside of the driver's calls its
// pages are inaccessible most of the time, so that who reads or writes them ends the program.
#pragma once

#include <cstddef>
#include <map>
#include <mutex>

namespace wgqa::cuda::emulation {

/// Any thread may use it.
class DeviceMemory {
 public:
  DeviceMemory();
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;

  /// Filled with ones: NaN in every floating type. Null if there is no room.
  void* allocate(std::size_t bytes);
  void release(void* data);

  /// Addresses without memory, until map() provides some.
  void* reserve(std::size_t bytes);
  void releaseReserved(void* data, std::size_t bytes);
  void map(void* data, std::size_t bytes);
  void unmap(void* data, std::size_t bytes);

  /// Makes it accessible while it lives: what a call of the driver holds.
  class Access {
   public:
    explicit Access(DeviceMemory& memory) : memory_(memory) { memory_.enter(); }
    ~Access() { memory_.leave(); }
    Access(const Access&) = delete;
    Access& operator=(const Access&) = delete;

   private:
    DeviceMemory& memory_;
  };

 private:
  void enter();
  void leave();
  void protect(int protection);

  std::mutex mutex_;
  int users_ = 0;
  int calls_ = 0;
  bool isProtected_ = false;
  std::byte* arena_;
  std::size_t arenaEnd_ = 0;
  std::map<std::byte*, std::size_t> live_;       // begin -> bytes
  std::multimap<std::size_t, std::byte*> free_;  // bytes -> begin
  std::map<std::byte*, std::size_t> mapped_;     // of reservations
};

}  // namespace wgqa::cuda::emulation
