// Where tensors lie. Backends compute on the memory that they name; everything else of the program
// reads and writes host memory only, and moves values with Ops::upload and Ops::download.
#pragma once

#include <cstddef>
#include <memory>

namespace wgqa {

/// Address space that takes up memory only where it is provided: what lets a cache have a budget of
/// gigabytes, grow without moving, and still be small for a small request.
class Reservation {
 public:
  virtual ~Reservation() = default;
  virtual std::byte* data() const = 0;
  virtual std::size_t bytes() const = 0;
  /// Writes provide what they touch by themselves; provide() merely makes that cheaper.
  virtual bool providesOnWrite() const = 0;
  /// Provides [offset, offset + bytes). Throws ErrorCode::outOfMemory.
  virtual void provide(std::size_t offset, std::size_t bytes) = 0;
  /// Gives back the whole pages inside [offset, offset + bytes); their contents are lost.
  virtual void giveBack(std::size_t offset, std::size_t bytes) = 0;
};

/// One kind of memory: the host's, or that of one device. Lives as long as the process; any thread
/// may use it.
class Memory {
 public:
  virtual ~Memory() = default;
  /// The host reads and writes it directly.
  virtual bool isHost() const = 0;
  /// Uninitialised, aligned for any kernel. Throws ErrorCode::outOfMemory.
  virtual void* allocate(std::size_t bytes) = 0;
  /// What allocate(bytes) gave. Waits for operations under way that may use it.
  virtual void release(void* data, std::size_t bytes) noexcept = 0;
  /// Reservations are provided and given back in whole units of this size.
  virtual std::size_t pageBytes() const = 0;
  /// Zero-filled where the host's. Throws ErrorCode::outOfMemory.
  virtual std::unique_ptr<Reservation> reserve(std::size_t bytes) = 0;
};

Memory& hostMemory();

}  // namespace wgqa
