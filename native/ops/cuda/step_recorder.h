// Steps that a stream is asked for again and again: decoding asks for the same kernels on the same
// memory for every token, and only the contents of the host's tables differ. A step is collected as
// a list of commands; a list that was seen before is replayed as one recording (a CUDA graph).
#pragma once

#include <cstdint>
#include <list>
#include <string>
#include <vector>

#include "base/buffer.h"
#include "ops/cuda/device.h"

namespace wgqa::cuda {

/// Counts of how steps were run.
struct StepCounts {
  std::int64_t launched = 0;  // command by command
  std::int64_t recorded = 0;  // while they were recorded
  std::int64_t replayed = 0;
};

/// Used by one thread at a time.
class StepRecorder {
 public:
  explicit StepRecorder(Stream& stream);
  ~StepRecorder();
  StepRecorder(const StepRecorder&) = delete;
  StepRecorder& operator=(const StepRecorder&) = delete;

  bool isCollecting() const { return isCollecting_; }
  void begin();
  /// Runs what was collected since begin().
  void end();
  /// Forgets what was collected.
  void abandon();

  // What the stream is asked for between begin() and end().
  void launch(const Launch& launch);
  void multiply(const DenseProduct& product);
  void copyOnDevice(void* to, const void* from, std::size_t bytes);
  void fill(void* to, int byte, std::size_t bytes);
  /// A copy of a host table on the device, at the same place in each step as long as the step asks
  /// for tables of about the same sizes in the same order. Equal tables have one copy.
  const void* table(const void* values, std::size_t bytes);

  /// Keeps memory that commands of the step may name until the next begins.
  void keep(Buffer memory) { kept_.push_back(std::move(memory)); }

  const StepCounts& counts() const { return counts_; }

 private:
  enum class Kind : std::uint8_t { launch, multiply, copy, fill };
  struct Command {
    Kind kind;
    std::size_t offset;  // of what it is, in bytes_
  };
  struct Table {
    std::size_t offset;
    std::size_t bytes;
  };
  struct Recording {
    std::string step;  // the commands it holds
    void* handle;      // null: seen, but not recorded yet
  };

  template <typename Part>
  void append(Kind kind, const Part& part);
  template <typename Part>
  Part partOf(const Command& command) const;
  void makeRoom(std::size_t bytes);
  void allocateTables(std::size_t bytes);
  void uploadTables();
  void run();
  void runCommands();
  void runCommand(const Command& command);
  void* recorded();
  void* record();
  void clear();

  Stream& stream_;
  bool isCollecting_ = false;
  std::string bytes_;  // commands one after another: equal bytes do equal things
  std::vector<Command> commands_;
  std::byte* pinned_ = nullptr;  // the step's tables
  Buffer tableMemory_;           // their copy
  std::vector<Buffer> kept_;     // until the step has run
  std::size_t tableEnd_ = 0;
  std::vector<Table> tables_;
  bool isUploading_ = false;         // the pinned tables may still be read
  std::list<Recording> recordings_;  // the latest used first
  StepCounts counts_;
};

}  // namespace wgqa::cuda
