#include "ops/cuda/session.h"

#include <algorithm>
#include <cstring>

namespace wgqa::cuda {
namespace {

constexpr std::size_t kTableAlignment = 256;
constexpr std::size_t kTableBytes = std::size_t{4} << 20;
constexpr std::size_t kMostTables = 64;

std::size_t roundUp(std::size_t bytes) {
  return (bytes + kTableAlignment - 1) / kTableAlignment * kTableAlignment;
}

}  // namespace

Session::Session(Device& device) : stream_(device), recorder_(stream_) {
  tableMemory_.emplace_back(device, kTableBytes);
}

void Session::beginStep() {
  recorder_.begin();
  stream_.collectWith(&recorder_);
}

void Session::endStep() {
  stream_.collectWith(nullptr);
  recorder_.end();
}

void Session::abandonStep() noexcept {
  stream_.collectWith(nullptr);
  recorder_.abandon();
}

// Tables are overwritten in the stream's order: after the kernels that read them.
void Session::beginOperation() {
  const bool fits = tableMemory_.size() == 1 && tableEnd_ <= kTableBytes / 2;
  if (fits && tables_.size() < kMostTables) return;
  tables_.clear();
  tableEnd_ = 0;
  if (tableMemory_.size() > 1) tableMemory_.erase(tableMemory_.begin(), tableMemory_.end() - 1);
}

const void* Session::tableBytes(const void* values, std::size_t bytes) {
  if (bytes == 0) return nullptr;
  if (recorder_.isCollecting()) return recorder_.table(values, bytes);
  for (const Table& table : tables_) {
    if (table.content.size() == bytes && std::memcmp(table.content.data(), values, bytes) == 0) {
      return table.copy;
    }
  }
  if (tableEnd_ + bytes > tableMemory_.back().bytes()) {
    tableMemory_.emplace_back(device(), std::max(2 * bytes, kTableBytes));
    tableEnd_ = 0;
  }
  std::byte* copy = tableMemory_.back().as<std::byte>() + tableEnd_;
  const auto* begin = static_cast<const std::byte*>(values);
  tables_.push_back({copy, {begin, begin + bytes}});
  stream_.copyToDevice(copy, values, bytes);
  tableEnd_ += roundUp(bytes);
  return copy;
}

void* Session::scratchBytes(Scratch place, std::size_t bytes) {
  Buffer& buffer = scratch_[static_cast<int>(place)];
  if (buffer.bytes() < bytes) {
    if (recorder_.isCollecting()) recorder_.keep(std::move(buffer));
    buffer = Buffer();
    buffer = Buffer(device(), bytes + bytes / 2);
  }
  return buffer.as<void>();
}

}  // namespace wgqa::cuda
