#include "limits/large_array.h"

#include <sys/mman.h>

#include <cstring>
#include <string>

#include "base/error.h"

namespace wgqa {

LargeArray::LargeArray(std::size_t bytes) : bytes_(bytes) {
  void* address = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (address == MAP_FAILED) {
    throw Error(ErrorCode::outOfMemory, "cannot map " + std::to_string(bytes) + " bytes");
  }
  data_ = address;
#ifdef MADV_HUGEPAGE
  madvise(data_, bytes, MADV_HUGEPAGE);
#endif
  // Written once, so that pages are the array's own and not all the one page of zeros.
  std::memset(data_, 0, bytes);
}

LargeArray::~LargeArray() { munmap(data_, bytes_); }

}  // namespace wgqa
