// bfloat16 products through oneDNN, with the weight in the library's own blocked layout.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>
#include <unordered_map>

#include "base/buffer.h"
#include "ops/ops.h"

namespace wgqa::cpu {

/// A weight that only BlockedProducts reads.
class BlockedWeight final : public PackedWeight {
 public:
  dnnl::memory::desc layout;
  dnnl::memory memory;  // over `data`
  Buffer data;
};

/// Runs products with blocked weights. The library makes a program for each number of rows; they
/// are kept, the least recently used dropped first.
class BlockedProducts {
 public:
  /// Nothing where the library has no bfloat16 products for this processor.
  std::unique_ptr<BlockedWeight> pack(const ConstTensorView& weight) const;
  void run(const Linear& p, const BlockedWeight& weight);

 private:
  /// What a program is specific to.
  struct Key {
    std::int64_t rows, outFeatures, inFeatures, xStride, outStride;
    float alpha, beta;
    int threads;
    bool operator==(const Key&) const = default;
  };
  struct Program {
    Key key;
    dnnl::matmul product;
    std::unordered_map<int, dnnl::memory> arguments;
  };

  Program& program(const Key& key, const BlockedWeight& weight);

  std::list<Program> programs_;  // most recently used first
};

}  // namespace wgqa::cpu
