// bfloat16 and int8 products with the weight in oneDNN's blocked layout: by kernels of our own
// where the processor has the instructions (own_products.h), else through the library.
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

/// Whether the library multiplies int8 matrices on this processor.
bool hasInt8Products();

/// A weight that only BlockedProducts reads: panels of rows, each a unit of parallel work.
class BlockedWeight final : public PackedWeight {
 public:
  struct Panel {
    std::int64_t firstFeature = 0;
    std::int64_t features = 0;
    Buffer data;
    dnnl::memory memory;  // over `data`
  };
  std::vector<Panel> panels;
  std::vector<float> scales;  // [outFeatures] of int8, else empty
  /// Whether every panel lies as blocks that multiplyBlock() reads (block_kernel.h).
  bool liesInBlocks = false;
  /// [outFeatures, padded to whole blocks] of int8 in blocks: what takes the sums of unsigned
  /// bytes, which are 128 too large, to those of the integers.
  std::vector<std::int32_t> offsets;
};

/// Runs products with blocked weights, each panel on one of the project's own threads. The library
/// makes a program for each number of rows; they are kept, the least recently used dropped first.
///
/// int8: weights are quantised per output feature when they are packed, rows of x per row when they
/// are multiplied, both symmetrically; the sums of products are exact integers.
class BlockedProducts {
 public:
  BlockedProducts();
  ~BlockedProducts();
  /// `dtype`: bfloat16 | int8. Nothing where the library lacks such products for this processor.
  std::unique_ptr<BlockedWeight> pack(const ConstTensorView& weight, DType dtype) const;
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
    const BlockedWeight* weight;
    Program* program;
    const BlockedWeight::Panel* panel;
    std::int64_t row, rows;
  };

  // Room for every row count of the few shapes of a model.
  static constexpr std::size_t kMaxPrograms = 1024;

  Program& program(const Key& key, const BlockedWeight::Panel& panel);
  void plan(const Linear& p);
  void runTasks(std::span<const Linear> products, Scratch& scratch);

  onednn::ProgramCache<Key, Program> programs_;
  std::vector<Task> tasks_;  // of the running call
};

}  // namespace wgqa::cpu
