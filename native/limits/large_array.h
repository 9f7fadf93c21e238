// Zeroed memory on huge pages where the system has them.
#pragma once

#include <cstddef>

namespace wgqa {

/// With small pages a measurement of reading memory would mostly measure address translation.
/// Throws ErrorCode::outOfMemory.
class LargeArray {
 public:
  explicit LargeArray(std::size_t bytes);
  ~LargeArray();
  LargeArray(const LargeArray&) = delete;
  LargeArray& operator=(const LargeArray&) = delete;

  template <typename T>
  T* as() const {
    return static_cast<T*>(data_);
  }
  std::size_t bytes() const { return bytes_; }

 private:
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace wgqa
