// What the decode engine hands to a model: tokens, block tables and cache storage.
#pragma once

#include <cstdint>
#include <span>

#include "ops/ops.h"

namespace wgqa {

/// Cache storage of one decoder layer: [blocks, kvHeads, blockTokens, headDim], float32 | bfloat16.
struct LayerCache {
  TensorView keys;
  TensorView values;
};

/// Which blocks each sequence of a step reads (the layout of PagedKv).
struct BlockTables {
  std::span<const std::int32_t> blocks;   // block ids of all sequences, one after another
  std::span<const std::int32_t> offsets;  // [sequences + 1]
  std::span<const std::int32_t> lengths;  // [sequences] keys held, >= 1
};

/// Cross-attention K/V of freshly encoded sources, to be written into cache slots.
struct CrossAppend {
  ConstTensorView encoderStates;        // [tokens, dModel] float32
  std::span<const std::int64_t> slots;  // [tokens] block * blockTokens + place in the block
  std::span<const LayerCache> cache;    // [decoderLayers]
};

/// One decoding step of a batch: each sequence feeds its newest token and gets its next logits.
struct DecodeStep {
  std::span<const std::int32_t> tokens;     // [sequences]
  std::span<const LayerCache> selfCache;    // [decoderLayers]
  BlockTables self;                         // lengths count the new token
  std::span<const std::int64_t> selfSlots;  // [sequences] where the new token's K/V go
  std::span<const LayerCache> crossCache;   // [decoderLayers]
  BlockTables cross;
  TensorView logits;  // [sequences, vocab] float32
};

/// What the decode engine needs of an encoder-decoder model. Calls come from one thread.
class EncoderDecoder {
 public:
  virtual ~EncoderDecoder() = default;
  struct CacheShape {
    std::int64_t layers = 0;
    std::int64_t selfKvHeads = 0;
    std::int64_t crossKvHeads = 0;
    std::int64_t headDim = 0;
  };
  virtual CacheShape cacheShape() const = 0;
  virtual std::int64_t vocabSize() const = 0;
  virtual std::int64_t stateSize() const = 0;  // dModel
  /// Encodes a ragged batch: states [tokens, dModel] float32.
  virtual void encode(std::span<const std::int32_t> ids, const RaggedOffsets& offsets,
                      const TensorView& states) = 0;
  virtual void appendCross(const CrossAppend& append) = 0;
  virtual void decodeStep(const DecodeStep& step) = 0;
  /// Bytes of weights that decoding steps have read so far: what a bandwidth figure counts.
  virtual std::int64_t weightBytesRead() const = 0;
};

}  // namespace wgqa
