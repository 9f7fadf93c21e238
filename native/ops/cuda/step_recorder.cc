#include "ops/cuda/step_recorder.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace wgqa::cuda {
namespace {

constexpr std::size_t kTableBytes = std::size_t{4} << 20;
constexpr std::size_t kSmallestTableBytes = 256;
// Steps differ in their number of rows and in how many blocks of keys they read, by powers of two.
constexpr std::size_t kMostRecordings = 64;

struct DeviceCopy {
  void* to;
  const void* from;
  std::size_t bytes;
};

struct DeviceFill {
  void* to;
  std::size_t bytes;
  std::int64_t byte;
};

// Bytes of a struct without what lies between its members, so that equal structs are equal bytes.
template <typename Part>
void appendBytes(std::string& bytes, Part part) {
  static_assert(std::is_trivially_copyable_v<Part>);
#if __has_builtin(__builtin_clear_padding)
  __builtin_clear_padding(&part);
#endif
  bytes.append(reinterpret_cast<const char*>(&part), sizeof(Part));
}

}  // namespace

StepRecorder::StepRecorder(Stream& stream) : stream_(stream) {}

StepRecorder::~StepRecorder() {
  const Driver& driver = stream_.device().driver();
  driver.synchronize(stream_.handle());
  for (const Recording& recording : recordings_) {
    if (recording.handle != nullptr) driver.destroyRecording(recording.handle);
  }
  if (pinned_ != nullptr) driver.releasePinned(pinned_);
}

void StepRecorder::begin() {
  require(!isCollecting_, "a step inside a step");
  if (isUploading_) stream_.synchronize();
  isUploading_ = false;
  kept_.clear();
  isCollecting_ = true;
}

void StepRecorder::end() {
  require(isCollecting_, "the end of a step that did not begin");
  isCollecting_ = false;
  if (!commands_.empty()) {
    uploadTables();
    run();
  }
  clear();
}

void StepRecorder::abandon() {
  isCollecting_ = false;
  clear();
}

void StepRecorder::clear() {
  bytes_.clear();
  commands_.clear();
  tables_.clear();
  tableEnd_ = 0;
}

// ---------------------------------------------------------------------------- collecting

template <typename Part>
void StepRecorder::append(Kind kind, const Part& part) {
  appendBytes(bytes_, kind);
  commands_.push_back({kind, bytes_.size()});
  appendBytes(bytes_, part);
}

void StepRecorder::launch(const Launch& launch) {
  Launch named = launch;
  named.arguments = nullptr;  // they follow
  append(Kind::launch, named);
  bytes_.append(static_cast<const char*>(launch.arguments),
                static_cast<std::size_t>(launch.argumentBytes));
}

void StepRecorder::multiply(const DenseProduct& product) { append(Kind::multiply, product); }

void StepRecorder::copyOnDevice(void* to, const void* from, std::size_t bytes) {
  append(Kind::copy, DeviceCopy{to, from, bytes});
}

void StepRecorder::fill(void* to, int byte, std::size_t bytes) {
  append(Kind::fill, DeviceFill{to, bytes, byte});
}

const void* StepRecorder::table(const void* values, std::size_t bytes) {
  for (const Table& table : tables_) {
    if (table.bytes == bytes && std::memcmp(pinned_ + table.offset, values, bytes) == 0) {
      return tableMemory_.as<std::byte>() + table.offset;
    }
  }
  // Tables grow as sequences do: those behind one move only when it has grown by a factor of two.
  const std::size_t room = std::bit_ceil(std::max(bytes, kSmallestTableBytes));
  makeRoom(room);
  tables_.push_back({tableEnd_, bytes});
  std::memcpy(pinned_ + tableEnd_, values, bytes);
  const std::byte* copy = tableMemory_.as<std::byte>() + tableEnd_;
  tableEnd_ += room;
  return copy;
}

// A step of more tables than there is room for is run in parts. Tables stay where they are until
// the step's end: the operation that asks for this one may have asked for others before.
void StepRecorder::makeRoom(std::size_t bytes) {
  const std::size_t room = tableMemory_.bytes();
  if (tableEnd_ + bytes <= room) return;
  uploadTables();
  if (!commands_.empty()) run();
  clear();
  stream_.synchronize();
  isUploading_ = false;
  keep(std::move(tableMemory_));
  allocateTables(std::max({kTableBytes, 2 * room, 2 * bytes}));
}

void StepRecorder::allocateTables(std::size_t bytes) {
  const Driver& driver = stream_.device().driver();
  if (pinned_ != nullptr) driver.releasePinned(pinned_);
  pinned_ = nullptr;
  tableMemory_ = Buffer(stream_.device(), bytes);
  void* pinned = nullptr;
  check(driver.allocatePinned(bytes, &pinned));
  pinned_ = static_cast<std::byte*>(pinned);
}

// ---------------------------------------------------------------------------- running

void StepRecorder::run() {
  if (void* recording = recorded()) {
    check(stream_.device().driver().replay(stream_.handle(), recording));
    ++counts_.replayed;
  } else {
    runCommands();
    ++counts_.launched;
  }
}

void StepRecorder::uploadTables() {
  if (tableEnd_ == 0) return;
  const Driver& driver = stream_.device().driver();
  check(driver.copyToDevice(stream_.handle(), tableMemory_.as<void>(), pinned_, tableEnd_));
  isUploading_ = true;
}

// The recording of what was collected; null for what is seen for the first time.
void* StepRecorder::recorded() {
  const auto known =
      std::find_if(recordings_.begin(), recordings_.end(),
                   [&](const Recording& recording) { return recording.step == bytes_; });
  const Driver& driver = stream_.device().driver();
  if (known == recordings_.end()) {
    recordings_.push_front({bytes_, nullptr});
    if (recordings_.size() > kMostRecordings) {
      if (recordings_.back().handle != nullptr) driver.destroyRecording(recordings_.back().handle);
      recordings_.pop_back();
    }
    return nullptr;
  }
  recordings_.splice(recordings_.begin(), recordings_, known);
  if (known->handle == nullptr) {
    known->handle = record();
    ++counts_.recorded;
  }
  return known->handle;
}

void* StepRecorder::record() {
  const Driver& driver = stream_.device().driver();
  void* recording = nullptr;
  check(driver.beginRecording(stream_.handle()));
  try {
    runCommands();
  } catch (...) {
    // The stream must not go on recording.
    driver.endRecording(stream_.handle(), &recording);
    if (recording != nullptr) driver.destroyRecording(recording);
    throw;
  }
  check(driver.endRecording(stream_.handle(), &recording));
  return recording;
}

void StepRecorder::runCommands() {
  for (const Command& command : commands_) runCommand(command);
}

template <typename Part>
Part StepRecorder::partOf(const Command& command) const {
  Part part;
  std::memcpy(&part, bytes_.data() + command.offset, sizeof(Part));
  return part;
}

void StepRecorder::runCommand(const Command& command) {
  const Driver& driver = stream_.device().driver();
  switch (command.kind) {
    case Kind::launch: {
      auto launch = partOf<Launch>(command);
      // Aligned as the struct was: its bytes may lie anywhere in the list.
      alignas(std::max_align_t) std::byte arguments[kMostArgumentBytes];
      std::memcpy(arguments, bytes_.data() + command.offset + sizeof(Launch),
                  static_cast<std::size_t>(launch.argumentBytes));
      launch.arguments = arguments;
      return check(driver.launch(stream_.handle(), &launch));
    }
    case Kind::multiply: {
      const auto product = partOf<DenseProduct>(command);
      return check(driver.multiply(stream_.handle(), &product));
    }
    case Kind::copy: {
      const auto copy = partOf<DeviceCopy>(command);
      return check(driver.copyOnDevice(stream_.handle(), copy.to, copy.from, copy.bytes));
    }
    case Kind::fill: {
      const auto fill = partOf<DeviceFill>(command);
      return check(
          driver.fill(stream_.handle(), fill.to, static_cast<std::int32_t>(fill.byte), fill.bytes));
    }
  }
}

}  // namespace wgqa::cuda
