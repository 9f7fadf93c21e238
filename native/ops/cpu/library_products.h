// bfloat16 and int8 products through oneDNN, with the weight in the library's own blocked layout.
#pragma once

#include <cstdint>
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>
#include <span>
#include <vector>

#include "base/buffer.h"
#include "ops/cpu/onednn.h"
#include "ops/cpu/scratch.h"
#include "ops/ops.h"

namespace wgqa::cpu {

/// A weight that only LibraryProducts reads: panels of rows, each a unit of parallel work.
class LibraryWeight final : public PackedWeight {
 public:
  struct Panel {
    std::int64_t firstFeature = 0;
    std::int64_t features = 0;
    Buffer data;
    dnnl::memory memory;  // over `data`
  };
  std::vector<Panel> panels;
  std::vector<float> scales;  // [outFeatures] of int8, else empty
};

/// Runs products with blocked weights, each panel on one of the project's own threads. The library
/// makes a program for each number of rows; they are kept, the least recently used dropped first.
///
/// int8: weights are quantised per output feature when they are packed, rows of x per row when they
/// are multiplied, both symmetrically; the sums of products are exact integers.
class LibraryProducts {
 public:
  LibraryProducts();
  ~LibraryProducts();
  /// Whether the library multiplies int8 matrices on this processor.
  static bool hasInt8();
  /// `dtype`: bfloat16 | int8. Nothing where the library lacks such products for this processor.
  std::unique_ptr<LibraryWeight> pack(const ConstTensorView& weight, DType dtype) const;
  /// Products of one x with blocked weights of one dtype.
  void run(std::span<const Linear> products, Scratch& scratch);

 private:
  /// What a program is specific to.
  struct Key {
    DType dtype;
    std::int64_t rows, features, inFeatures, xStride;
    bool operator==(const Key&) const = default;
  };
  struct Program;
  struct Task {
    const Linear* product;
    const LibraryWeight* weight;
    Program* program;
    const LibraryWeight::Panel* panel;
    std::int64_t row, rows;
  };

  // Room for every row count of the few shapes of a model.
  static constexpr std::size_t kMaxPrograms = 1024;

  Program& program(const Key& key, const LibraryWeight::Panel& panel);
  void plan(const Linear& p);
  void runTasks(std::span<const Linear> products, Scratch& scratch);

  onednn::ProgramCache<Key, Program> programs_;
  std::vector<Task> tasks_;  // of the running call
};

}  // namespace wgqa::cpu
