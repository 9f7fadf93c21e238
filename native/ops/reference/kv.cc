#include "ops/reference/reference_ops.h"
#include "ops/reference/wide.h"

namespace wgqa::reference {
namespace {

// Blocks as [blocks, kvHeads, blockTokens, headDim], with any strides.
void append(const ConstTensorView& rows, std::span<const std::int64_t> slots,
            const TensorView& blocks) {
  const std::int64_t kvHeads = blocks.shape[1];
  const std::int64_t blockTokens = blocks.shape[2];
  const std::int64_t headDim = blocks.shape[3];
  const Wide values = load(rows);
  auto value = values.begin();
  for (const std::int64_t slot : slots) {
    for (std::int64_t head = 0; head < kvHeads; ++head) {
      const std::int64_t row = slot / blockTokens * blocks.strides[0] + head * blocks.strides[1] +
                               slot % blockTokens * blocks.strides[2];
      for (std::int64_t i = 0; i < headDim; ++i) {
        writeElement(blocks, row + i * blocks.strides[3], *value++);
      }
    }
  }
}

}  // namespace

void ReferenceOps::kvAppend(const KvAppend& p) {
  append(p.k, p.slots, p.keys.transposed());
  append(p.v, p.slots, p.values);
}

}  // namespace wgqa::reference
