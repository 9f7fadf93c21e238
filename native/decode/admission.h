// Which requests fit: decided before any of their memory is allocated.
#pragma once

#include <cstdint>

#include "decode/active_request.h"
#include "decode/decoder.h"
#include "decode/kv_cache.h"

namespace wgqa {

/// What requests may come to take up. Admitting by the most that a request can need means that
/// a running one never runs out.
struct CacheNeed {
  std::int64_t sequences = 0;
  std::int64_t bytes = 0;

  CacheNeed& operator+=(const CacheNeed& other) {
    sequences += other.sequences;
    bytes += other.bytes;
    return *this;
  }
};

/// What a request with `sequences` beams or samples needs at most.
CacheNeed needOf(const GenerationRequest& request, std::int64_t sequences, const KvCache& cache);

/// Throws ErrorCode::invalidArgument for a bad field, and ErrorCode::outOfMemory with the field and
/// its limit for a request that could never run: a source (`inputIds`) or a length (`maxNewTokens`)
/// beyond the whole cache.
void checkRequest(const GenerationRequest& request, const KvCache& cache, std::int64_t vocabSize,
                  std::int64_t maxBatchSize);

}  // namespace wgqa
