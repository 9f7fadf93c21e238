// Scratch tensors of one pass: allocated by bumping an offset, freed all at once, memory kept for
// the next pass, so that a step in steady state allocates nothing.
#pragma once

#include <initializer_list>
#include <vector>

#include "base/buffer.h"
#include "ops/tensor_view.h"

namespace wgqa {

class Arena {
 public:
  /// Its tensors lie in `memory`, which outlives it.
  explicit Arena(Memory& memory) : memory_(memory) {}

  struct Mark {
    std::size_t chunk = 0;
    std::size_t offset = 0;
    std::size_t used = 0;
  };

  /// Uninitialised memory that lives until the next reset() or a rewind() to an earlier mark.
  TensorView make(DType dtype, std::initializer_list<std::int64_t> shape);
  TensorView floats(std::initializer_list<std::int64_t> shape) {
    return make(DType::float32, shape);
  }
  /// Makes room for `tensors` more tensors of `elements` float32 numbers in all, in one piece.
  void reserveFloats(std::int64_t elements, std::int64_t tensors);

  Mark mark() const { return {chunk_, offset_, used_}; }
  void rewind(const Mark& mark);
  /// Starts a new pass; if the last one took several chunks, a single one replaces them that is as
  /// large as what it used at once.
  void reset();
  /// Frees all memory.
  void release();
  std::size_t bytes() const;
  /// The most bytes in use at once since the last reset.
  std::size_t peakBytes() const { return peak_; }

 private:
  Memory& memory_;
  std::vector<Buffer> chunks_;
  std::size_t chunk_ = 0;
  std::size_t offset_ = 0;
  std::size_t used_ = 0;  // by tensors, without what is left over at the ends of chunks
  std::size_t peak_ = 0;
};

/// Rewinds an arena at the end of a scope.
class ArenaScope {
 public:
  explicit ArenaScope(Arena& arena) : arena_(arena), mark_(arena.mark()) {}
  ~ArenaScope() { arena_.rewind(mark_); }
  ArenaScope(const ArenaScope&) = delete;
  ArenaScope& operator=(const ArenaScope&) = delete;

 private:
  Arena& arena_;
  Arena::Mark mark_;
};

}  // namespace wgqa
