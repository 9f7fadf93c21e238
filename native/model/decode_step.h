// What the decode engine hands to a model: tokens, block tables and cache storage.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "ops/host_ops.h"
#include "ops/ops.h"

namespace wgqa {

/// Cache storage of one decoder layer, as that of PagedKv, in EncoderDecoder::memory(); float32 |
/// float16 | bfloat16 | int8.
struct LayerCache {
  TensorView keys;         // [blocks, kvHeads, headDim, blockTokens]
  TensorView values;       // [blocks, kvHeads, blockTokens, headDim]
  TensorView keyScales;    // [blocks, kvHeads, blockTokens] of int8
  TensorView valueScales;  // as keyScales
};

/// Which blocks each row of a step reads (the layout of PagedKv).
struct BlockTables {
  std::span<const std::int32_t> blocks;   // block ids of all rows, one after another
  std::span<const std::int32_t> offsets;  // [rows + 1]
  std::span<const std::int32_t> lengths;  // [rows] keys held, >= 1
};

/// Sources to be encoded, one after another, and where their cross-attention K/V go.
struct SourceBatch {
  std::vector<std::int32_t> ids;      // [tokens]
  std::vector<std::int32_t> offsets;  // [sources + 1]
  std::vector<std::int64_t> slots;    // [tokens] block * blockTokens + place in the block
  std::span<const LayerCache> cache;  // [decoderLayers], outlives the encoding
};

/// An encoding under way. It is done in slices, so that a long source holds up nobody; what is
/// written does not depend on how it was sliced, nor on what else is in the batch.
class SourceEncoding {
 public:
  virtual ~SourceEncoding() = default;
  /// What is left to do, in tokens taken through the whole encoder (a token with many keys to
  /// attend to counts for more). 0 once all K/V are in the cache.
  virtual std::int64_t workLeft() const = 0;
  /// Does one unit of work, and more as long as it fits into `work`. Call only with work left.
  virtual void advance(std::int64_t work) = 0;
};

/// One decoding step: each row feeds a token to a sequence that stands at lengths[row] - 1. The K/V
/// of all rows are written before any row attends, so several tokens of one sequence may be fed at
/// once, as rows of growing length over the same blocks.
struct DecodeStep {
  std::span<const std::int32_t> tokens;     // [rows]
  std::span<const LayerCache> selfCache;    // [decoderLayers]
  BlockTables self;                         // lengths count the row's own token
  std::span<const std::int64_t> selfSlots;  // [rows] where the token's K/V go, all different
  std::span<const LayerCache> crossCache;   // [decoderLayers]
  BlockTables cross;
  std::span<const std::int32_t> logitRows;  // rows of which logits are computed, ascending
  TokenChoices choices;                     // of rows of the logits: RowChoice::row
  std::span<ChosenToken> chosen;            // what the choices take
  std::span<const std::int32_t> hostRows;   // other rows of the logits, which the host wants
  TensorView hostLogits;                    // [hostRows, vocab] float32, on the host
};

/// What the decode engine needs of an encoder-decoder model. Calls come from one thread; several
/// objects over one model may be used by as many threads.
class EncoderDecoder {
 public:
  virtual ~EncoderDecoder() = default;
  struct CacheShape {
    std::vector<std::int64_t> selfKvHeads;   // [decoderLayers]
    std::vector<std::int64_t> crossKvHeads;  // [decoderLayers]
    std::int64_t headDim = 0;
  };
  virtual CacheShape cacheShape() const = 0;
  virtual std::int64_t vocabSize() const = 0;
  /// Throws ErrorCode::unsupported (field "kvCache.dtype") if the cache cannot be of that type.
  virtual void checkCacheType(DType /*dtype*/) const {}
  /// Where the cache has to lie.
  virtual Memory& memory() { return hostMemory(); }
  /// In the order of the calls around it.
  virtual void copyBlocks(const CopyBlocks& p) { copyHostBlocks(p); }
  /// The encoding refers to this object and must not outlive it.
  virtual std::unique_ptr<SourceEncoding> startEncoding(SourceBatch batch) = 0;
  virtual void decodeStep(const DecodeStep& step) = 0;
  /// Bytes of weights that decoding steps have read so far: what a bandwidth figure counts.
  virtual std::int64_t weightBytesRead() const = 0;
  /// Changes when parameters do: K/V cached under another version no longer match.
  virtual std::uint64_t weightsVersion() const = 0;
};

}  // namespace wgqa
