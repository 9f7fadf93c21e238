// Address space that takes up memory only where it is written.
#pragma once

#include <cstddef>

namespace wgqa {

/// Zero-filled, page-aligned; pages come with the first write to them. What lets a cache have
/// a budget of gigabytes, grow without moving, and still be small for a small request.
class ReservedMemory {
 public:
  ReservedMemory() = default;
  /// Throws ErrorCode::outOfMemory if the address space cannot be had.
  explicit ReservedMemory(std::size_t bytes);
  ~ReservedMemory();
  ReservedMemory(ReservedMemory&& other) noexcept;
  ReservedMemory& operator=(ReservedMemory&& other) noexcept;
  ReservedMemory(const ReservedMemory&) = delete;
  ReservedMemory& operator=(const ReservedMemory&) = delete;

  std::byte* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }
  /// Provides the pages of [offset, offset + bytes) at once, where the system can: cheaper than one
  /// by one as they are written. Nothing is lost if it cannot.
  void fetch(std::size_t offset, std::size_t bytes);
  /// Gives back the whole pages of [offset, offset + bytes); their contents are lost.
  void giveBack(std::size_t offset, std::size_t bytes);

  static std::size_t pageBytes();

 private:
  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace wgqa
