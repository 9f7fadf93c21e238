#include "ops/reference/reference_ops.h"
#include "ops/reference/wide.h"

namespace wgqa::reference {
namespace {

// Blocks as [blocks, kvHeads, blockTokens, headDim], with any strides.
void append(const ConstTensorView& rows, std::span<const std::int64_t> slots,
            const TensorView& blocks, const TensorView& scales) {
  const std::int64_t kvHeads = blocks.shape[1];
  const std::int64_t blockTokens = blocks.shape[2];
  const std::int64_t headDim = blocks.shape[3];
  Wide values = load(rows);
  auto value = values.begin();
  for (const std::int64_t slot : slots) {
    for (std::int64_t head = 0; head < kvHeads; ++head) {
      if (scales.given()) {
        const std::int64_t at = slot / blockTokens * scales.strides[0] + head * scales.strides[1] +
                                slot % blockTokens * scales.strides[2];
        writeElement(scales, at, quantise(std::span(value, value + headDim)));
      }
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
  append(p.k, p.slots, p.keys.transposed(), p.keyScales);
  append(p.v, p.slots, p.values, p.valueScales);
}

}  // namespace wgqa::reference
