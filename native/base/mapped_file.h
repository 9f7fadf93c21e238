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

  /// Takes the whole pages of a range out of this process's memory: the next access reads them
  /// anew, mostly from the system's cache of the file.
  void releasePages(const void* data, std::size_t bytes) const;

 private:
  const std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace wgqa
