// A read-only memory-mapped file.
#pragma once

#include <cstddef>
#include <string>

namespace wgqa {

class MappedFile {
 public:
  /// Throws ErrorCode::io naming `path`.
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::byte* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }

 private:
  const std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace wgqa
