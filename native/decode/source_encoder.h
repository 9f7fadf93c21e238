// Encodes sources and writes their cross-attention keys and values into the cache.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/buffer.h"
#include "decode/active_request.h"
#include "decode/kv_cache.h"
#include "model/decode_step.h"

namespace wgqa {

class SourceEncoder {
 public:
  /// Encodes up to `maxTokens` source tokens at once; a longer source goes alone.
  SourceEncoder(EncoderDecoder& model, KvCache& cache, std::int64_t maxTokens)
      : model_(model), cache_(cache), maxTokens_(maxTokens) {}

  /// Fills the cross-attention tables. What the model throws becomes the error of the requests
  /// that were encoded together.
  void encode(std::span<const std::unique_ptr<ActiveRequest>> requests);

 private:
  using Requests = std::span<const std::unique_ptr<ActiveRequest>>;
  std::size_t chunkSize(Requests requests) const;
  void encodeChunk(Requests requests);

  EncoderDecoder& model_;
  KvCache& cache_;
  std::int64_t maxTokens_;
  std::vector<std::int32_t> ids_;      // [tokens]
  std::vector<std::int32_t> offsets_;  // [sequences + 1]
  std::vector<std::int64_t> slots_;    // [tokens]
  Buffer states_;                      // [tokens, dModel] float32
};

}  // namespace wgqa
